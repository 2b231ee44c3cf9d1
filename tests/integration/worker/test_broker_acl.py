"""Workers, producers and the operator with exactly the rights that docs/redis.md lists."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from tests.integration.worker.bench import COMMAND, Bench, until
from tests.support.smtp import Mailbox
from workerpool_operator.core.observation import QueueDepth, Unavailable
from workerpool_operator.local.redis_server import RedisServer
from workerpool_operator.ports import PoolKey, PoolReading, QueueSource
from workerpool_operator.queues import control_for, reader_for
from workerpool_worker.models import Email, Order, OrderLine, Payment
from workerpool_worker.producer import BrokerUnreachableError, Producer

pytestmark = pytest.mark.integration

PAGE = (Path(__file__).parents[3] / "docs" / "redis.md").read_text()


def rights(user: str) -> str:
    """The line of the page for a user, without its password."""
    found = re.search(rf"ACL SETUSER {user} on >PASSWORD (.*?)\n```", PAGE, re.DOTALL)
    assert found, user
    return " ".join(found[1].split())


@pytest.fixture
def server(make_redis: Callable[..., RedisServer]) -> RedisServer:
    users = [f"user {user} on >{user}-pw {rights(user)}" for user in ("worker", "producer", "operator")]
    return make_redis(password="admin", config=users)


@pytest.fixture
def shop(server: RedisServer, mailbox: Mailbox, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(server.url, tmp_path, mailbox.port)
    made.producer.close()
    made.producer = Producer(url_of(server, "producer"))
    yield made
    made.close()


def url_of(server: RedisServer, user: str) -> str:
    return server.url_for(user=user, password=f"{user}-pw")


def command(shop: Bench, server: RedisServer, *arguments: str) -> str:
    """What a command of the worker's user says."""
    environment = shop.environment(WORKERPOOL_BROKER_URL=url_of(server, "worker"))
    done = subprocess.run([COMMAND, *arguments], env=environment, cwd=shop.folder, capture_output=True, text=True)  # noqa: PLW1510
    assert done.returncode == 0, done.stderr
    return done.stdout


def nothing_was_refused(server: RedisServer) -> None:
    with redis.Redis.from_url(server.url, decode_responses=True) as admin:
        refused = admin.acl_log()
    assert [(entry["username"], entry["reason"], entry["object"], entry["client-info"]) for entry in refused] == []


def test_a_worker_and_a_producer_do_all_they_do(shop: Bench, server: RedisServer, mailbox: Mailbox) -> None:
    mailbox.answers["later@example.org"] = "451 not now"
    mailbox.answers["gone@example.org"] = "550 no such user"
    own = {
        "WORKERPOOL_BROKER_URL": url_of(server, "worker"),
        "WORKERPOOL_RETRY_POLICIES": "email.*: attempts=9, every=1s",
        "WORKERPOOL_RATE_LIMITS": "queue:order=1000/s",
        "WORKERPOOL_CONCURRENCY": 2,
        "WORKERPOOL_QUEUES": "email,order,payment,maintenance",
        "SANDBOX_LATENCY_MS": 200,
    }
    first = shop.start(**own).ready()
    lines = (OrderLine(sku="tea", quantity=1, unit_price_minor=100),)
    command(shop, server, "stock", "tea=5")
    shop.producer.order(Order(id="o1", customer="Ada", email="ada@example.org", lines=lines))
    shop.producer.send_many(Payment(id=f"p{n}", amount_minor=100) for n in range(20))
    shop.producer.send(Email(id="later", to="later@example.org", subject="s", text="t"))
    shop.producer.send(Email(id="gone", to="gone@example.org", subject="s", text="t"))
    shop.producer.send(Email(id="due", to="a@example.org", subject="s", text="t"), delay_s=2)
    # A job put off, a dead letter, and a worker killed in the middle of its jobs.
    until(lambda: shop.redis.zcard("workerpool:dead-letters:email") == 1, what=shop.logs)
    until(lambda: ("email-later", "retried") in first.outcomes(), what=shop.logs)
    first.kill_group()
    del mailbox.answers["later@example.org"]
    second = shop.start(**own).ready()
    wanted = {"email-later", "email-due", "email-order-confirmation-o1"}
    until(lambda: len(shop.charges()) == 21, timeout_s=60, what=shop.logs)
    until(lambda: wanted <= set(mailbox.ids()) and shop.all_done(), timeout_s=60, what=shop.logs)
    # The dead letter, by the commands.
    listed = [json.loads(line) for line in command(shop, server, "dead-letters", "export").splitlines()]
    assert len(listed) == 1
    del mailbox.answers["gone@example.org"]
    assert "email-gone" in command(shop, server, "dead-letters", "list")
    command(shop, server, "dead-letters", "requeue", "--all")
    until(lambda: "email-gone" in mailbox.ids() and shop.all_done(), what=shop.logs)
    second.terminate()
    assert second.exit_status() == 0
    nothing_was_refused(server)
    assert "-pw" not in shop.logs()


def test_the_operator_tells_a_worker_to_take_no_more_jobs_and_to_take_them_again(
    shop: Bench, server: RedisServer
) -> None:
    own = {"WORKERPOOL_BROKER_URL": url_of(server, "worker"), "WORKERPOOL_QUEUES": "email,order"}
    name = "shop-1@here"
    shop.start(**own, WORKERPOOL_WORKER_NAME=name).ready()

    both = frozenset({"email", "order"})

    async def told() -> None:
        control = control_for("Celery", url_of(server, "operator"))
        assert control is not None
        try:
            assert await control.queues_of([name], key_prefix="") == {name: both}
            for tell, wanted in ((control.cancel, frozenset[str]()), (control.add, both)):
                assert await tell({name: both}, key_prefix="") is None
                async with asyncio.timeout(20):
                    while await control.queues_of([name], key_prefix="") != {name: wanted}:  # noqa: ASYNC110 - at once
                        await asyncio.sleep(0.05)
        finally:
            await control.close()

    asyncio.run(told())
    nothing_was_refused(server)


def test_the_operator_sees_what_waits_what_is_held_and_who_lives(shop: Bench, server: RedisServer) -> None:
    shop.start(WORKERPOOL_BROKER_URL=url_of(server, "worker"), SANDBOX_LATENCY_MS=5_000).ready()
    shop.producer.send_many(Payment(id=f"p{n}", amount_minor=100) for n in range(3))
    shop.producer.send(Email(id="due", to="a@example.org", subject="s", text="t"), delay_s=600)
    until(lambda: shop.unacked() == 1, what=shop.logs)

    async def read() -> tuple[PoolReading | Unavailable, int]:
        reader = reader_for("Celery", url_of(server, "operator"))
        source = QueueSource(key=PoolKey(namespace="default", name="shop"), queues=("email", "order", "payment"))
        try:
            async with asyncio.timeout(20):
                while not (reading := await reader.read((source,))).beats:  # noqa: ASYNC110 - a heartbeat comes in 2 s
                    await asyncio.sleep(0.2)
            return reading.pools[source.key], len(reading.beats)
        finally:
            await reader.close()

    pool, beats = asyncio.run(read())
    assert isinstance(pool, PoolReading), pool
    assert (pool.held, pool.scheduled, beats) == (1, 1, 1)
    waiting = pool.queues["payment"]
    assert isinstance(waiting, QueueDepth)
    assert waiting.ready == 2
    nothing_was_refused(server)


@pytest.mark.parametrize("right", ["lindex", "evalsha", "psubscribe", "hset"])
def test_a_right_that_a_worker_misses_is_named(shop: Bench, server: RedisServer, right: str) -> None:
    with redis.Redis.from_url(server.url) as admin:
        admin.execute_command("ACL", "SETUSER", "worker", f"-{right}")
    worker = shop.start(WORKERPOOL_BROKER_URL=url_of(server, "worker"))
    text = f"user worker may not run {right.upper()}: grant it with ACL SETUSER worker +{right}"
    until(lambda: worker.said(text), what=shop.logs)
    # Granted while it runs: nobody has to restart anything, and the log was not flooded meanwhile.
    with redis.Redis.from_url(server.url) as admin:
        admin.execute_command("ACL", "SETUSER", "worker", f"+{right}")
    shop.producer.send(Payment(id="p", amount_minor=100))
    until(lambda: shop.charges() == ["p"], what=shop.logs)
    assert sum(text in line["message"] for line in worker.lines()) < 3


def test_a_key_that_a_producer_misses_is_named(shop: Bench, server: RedisServer) -> None:
    with redis.Redis.from_url(server.url) as admin:
        admin.execute_command("ACL", "SETUSER", "producer", "resetkeys", "~email*")
    with pytest.raises(BrokerUnreachableError, match="user producer may not use a key that it needs") as refused:
        shop.producer.send(Payment(id="p", amount_minor=100))
    assert "(asked: LPUSH payment)" in str(refused.value)


def test_a_password_that_changes_under_a_worker(shop: Bench, server: RedisServer, mailbox: Mailbox) -> None:
    worker = shop.start(WORKERPOOL_BROKER_URL=url_of(server, "worker")).ready()
    with redis.Redis.from_url(server.url) as admin:
        admin.execute_command("ACL", "SETUSER", "worker", "<worker-pw", ">other-pw")
        for client in admin.client_list():
            if client["user"] == "worker":
                admin.client_kill_filter(_id=client["id"])
    until(lambda: worker.said("wrong password for user worker, or no such user: see WORKERPOOL_BROKER_URL"))
    assert worker.process.poll() is None
    with redis.Redis.from_url(server.url) as admin:
        admin.execute_command("ACL", "SETUSER", "worker", ">worker-pw")
    shop.producer.send(Email(id="m", to="a@example.org", subject="s", text="t"))
    until(lambda: mailbox.ids() == ["email-m"], what=shop.logs)
    assert "-pw" not in shop.logs()
