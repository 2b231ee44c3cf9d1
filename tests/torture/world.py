"""Everything the workers stand on: Redis, a network to it, an SQL database, a mail server; and how to send jobs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from celery import Celery
from redis import Redis

from tests.support.postgres import postgres_server
from tests.torture.fleet import GRACE_S, Fleet
from tests.torture.jobs import QUEUE
from tests.torture.plan import ARTICLES, RARE, STUCK_LIMITS_S, Item, Kind
from tests.torture.post import Post, post_office
from tests.torture.proxy import Proxy, proxy_to
from workerpool_operator.local.redis_server import RedisServer
from workerpool_worker.effects import EffectsReader
from workerpool_worker.jobs.orders.stock import set_stock
from workerpool_worker.producer import Producer
from workerpool_worker.runtime.database import engine_for

POOL = "torture"
# What the plan sends goes to these; the workers look after `maintenance` too.
QUEUES = ("email", "sms", "order", "payment", QUEUE)
RECOVER_AFTER_S = 60.0
"""What a job is given at the most, so that a status older than that is worth a look."""
STOCK_EACH = 1_000_000
ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(kw_only=True)
class World:
    """What there is in one run."""

    folder: Path
    redis: RedisServer
    client: Redis
    proxy: Proxy
    post: Post
    database: str
    effects: EffectsReader
    fleet: Fleet
    sender: Sender
    rare: int
    max_losses: int


class Sender:
    """Sends what the plan says. Nothing is sent while Redis is away, so nothing is sent twice by mistake."""

    def __init__(self, url: str, client: Redis) -> None:
        self._client = client
        self.producer = Producer(url)
        self._plain = Celery("torture-plain", broker=url, set_as_current=False)
        self._plain.conf.update(task_ignore_result=True)

    def send(self, items: Sequence[Item]) -> None:
        """Send these."""
        at_once = [item.job for item in items if item.job is not None and not item.delay_s and item.kind != Kind.STUCK]
        self.producer.send_many(at_once)
        for item in items:
            if item.raw:
                self._client.lpush(item.queue, item.raw)
            elif item.kind is Kind.STUCK or item.job is None:
                self._plainly(item)
            elif item.delay_s:
                self.producer.send(item.job, delay_s=item.delay_s)

    def _plainly(self, item: Item) -> None:
        """As a program would that knows nothing of this package."""
        soft_s, hard_s = STUCK_LIMITS_S if item.kind is Kind.STUCK else (None, None)
        self._plain.send_task(
            item.task,
            kwargs=item.job.arguments() if item.job is not None else {"no": "such argument"},
            task_id=item.job_id,
            queue=item.queue,
            soft_time_limit=soft_s,
            time_limit=hard_s,
        )

    def close(self) -> None:
        """Send no more."""
        self.producer.close()
        self._plain.close()


@contextmanager
def world(
    folder: Path,
    *,
    seed: int,
    database: str,
    rare: int,
    concurrency: int,
    max_losses: int = 5,
    hard_limit_s: float = RECOVER_AFTER_S,
) -> Iterator[World]:
    """Start everything but the workers.

    Args:
        folder: Where all data and logs go.
        seed: For what the mail server does.
        database: "sqlite" or "postgresql".
        rare: How many pieces there are of the article everybody wants.
        concurrency: Jobs at a time in each worker.
        max_losses: As in WORKERPOOL_MAX_LOSSES.
        hard_limit_s: What a job is given; also how long a second copy of a payment waits for the first.
    """
    with ExitStack() as stack:
        # One append-only file from the first command to the last: what became of a message can be read in it.
        server = stack.enter_context(
            RedisServer(folder / "redis", config=["auto-aof-rewrite-percentage 0", "aof-timestamp-enabled yes"])
        )
        proxy = stack.enter_context(proxy_to(server.port))
        post = stack.enter_context(post_office(seed))
        url = f"sqlite:///{folder / 'workerpool.db'}"
        if database == "postgresql":
            url = stack.enter_context(postgres_server())
        logs = folder / "workers"
        logs.mkdir()
        _fill_shelves(url, rare)
        effects = stack.enter_context(contextlib.closing(EffectsReader(url)))
        client = stack.enter_context(Redis.from_url(server.url))
        sender = stack.enter_context(contextlib.closing(Sender(server.url, client)))
        urls = (server.url, f"redis://127.0.0.1:{proxy.port}/0")
        given = {
            "WORKERPOOL_CONCURRENCY": str(concurrency),
            # What chance kills has to come through; what kills by itself still ends.
            "WORKERPOOL_MAX_LOSSES": str(max_losses),
            "WORKERPOOL_SOFT_TIME_LIMIT_SECONDS": f"{hard_limit_s / 2:g}",
            "WORKERPOOL_HARD_TIME_LIMIT_SECONDS": f"{hard_limit_s:g}",
        }
        environments = tuple(_environment(one, url, post.port, logs) | given for one in urls)
        fleet = Fleet(logs, environments)
        stack.callback(fleet.end)
        yield World(
            folder=folder,
            redis=server,
            client=client,
            proxy=proxy,
            post=post,
            database=url,
            effects=effects,
            fleet=fleet,
            sender=sender,
            rare=rare,
            max_losses=max_losses,
        )


def _fill_shelves(database: str, rare: int) -> None:
    engine = engine_for(database)
    for sku in ARTICLES:
        set_stock(engine, sku, STOCK_EACH)
    set_stock(engine, RARE, rare)
    engine.dispose()


def _environment(broker: str, database: str, smtp_port: int, folder: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return kept | {
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        "PYTHONDONTWRITEBYTECODE": os.environ.get("PYTHONDONTWRITEBYTECODE", ""),
        "WORKERPOOL_BROKER_URL": broker,
        "WORKERPOOL_STATE_DIR": str(folder),
        "WORKERPOOL_POOL": POOL,
        "WORKERPOOL_QUEUES": ",".join((*QUEUES, "maintenance")),
        "WORKERPOOL_JOBS": "tests.torture.jobs:JOBS",
        "WORKERPOOL_GRACE_SECONDS": f"{GRACE_S:g}",
        "WORKERPOOL_RETRY_BASE_MS": "200",
        "WORKERPOOL_RETRY_CAP_MS": "1000",
        "WORKERPOOL_MAX_RETRIES": "100",
        "WORKERPOOL_RECOVER_AFTER_SECONDS": f"{RECOVER_AFTER_S:g}",
        "DATABASE_URL": database,
        "SMTP_PORT": str(smtp_port),
        "SANDBOX_LATENCY_MS": "20",
    }
