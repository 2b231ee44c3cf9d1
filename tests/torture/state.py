"""What there is at one moment: in Redis, and in the database. Only read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from redis import Redis

from tests.torture.world import POOL, QUEUES
from workerpool_worker.jobs.orders.tables import orders
from workerpool_worker.messages import keys
from workerpool_worker.messages.letters import Letter
from workerpool_worker.runtime.database import make_engine
from workerpool_worker.store.places import PRIORITY_STEPS
from workerpool_worker.store.status import status
from workerpool_worker.store.tables import jobs

SCHEDULED = keys.delayed("maintenance")
"""There the next occurrence of every schedule always lies."""

_OWN = f"workerpool:default:{POOL}"


@dataclass(frozen=True, kw_only=True)
class Places:
    """How many messages lie where."""

    waiting: int
    unacked: int
    delayed: int
    dead: int

    @property
    def on_their_way(self) -> int:
        """Messages of which more is to come."""
        return self.waiting + self.unacked + self.delayed


def places(client: Redis) -> Places:
    """Count them, in one round trip."""
    pipe = client.pipeline(transaction=True)
    for queue in QUEUES:
        for step in PRIORITY_STEPS:
            pipe.llen(f"{queue}\x06\x16{step}" if step else queue)
    pipe.hlen(f"{_OWN}:unacked")
    for queue in QUEUES:
        pipe.hlen(keys.delayed_messages(queue))
        pipe.zcard(keys.dead_letters(queue))
    found = pipe.execute()
    cut = len(QUEUES) * len(PRIORITY_STEPS)
    rest = found[cut + 1 :]
    return Places(waiting=sum(found[:cut]), unacked=found[cut], delayed=sum(rest[::2]), dead=sum(rest[1::2]))


def residue(client: Redis) -> dict[str, int]:
    """Keys that hold something although all is done, and how much. What a run may leave is not among them."""
    left = {}
    for raw in client.scan_iter(count=1000):
        key, kind = _text(raw), _text(client.type(raw))
        if kind == "list":
            left[key] = int(client.llen(raw))
        elif SCHEDULED in key:
            continue
        elif "unacked" in key or ":delayed:" in key or key.endswith(":holders"):
            left[key] = int(client.hlen(raw) if kind == "hash" else client.zcard(raw) if kind == "zset" else 1)
    return left


def letters(client: Redis) -> list[Letter]:
    """Every dead letter."""
    found = []
    for queue in QUEUES:
        raw: Any = client.hgetall(keys.dead_letter_bodies(queue))
        found += [Letter.decode(value) for value in raw.values()]
    return found


def letter_ids_out_of_step(client: Redis) -> list[str]:
    """Dead letters that lack one of their three parts."""
    broken: set[str] = set()
    for queue in QUEUES:
        everywhere: tuple[Any, ...] = (
            client.zrange(keys.dead_letters(queue), 0, -1),
            client.hkeys(keys.dead_letter_bodies(queue)),
            client.hkeys(keys.dead_letter_messages(queue)),
        )
        scored, bodies, messages = ({_text(name) for name in names} for names in everywhere)
        broken |= (scored | bodies | messages) - (scored & bodies & messages)
    return sorted(broken)


def held(client: Redis) -> dict[str, str]:
    """The ids of the jobs that are unacknowledged or delayed, and where."""
    where = {}
    for queue in QUEUES:
        raw: Any = client.hgetall(keys.delayed_messages(queue))
        for value in raw.values():
            where[_job_id(value.partition(b"\n")[2])] = f"delayed in {queue}"
    found: Any = client.hgetall(f"{_OWN}:unacked")
    for value in found.values():
        where[_job_id(value)] = "unacknowledged"
    return where


def _text(raw: bytes | str) -> str:
    return raw.decode() if isinstance(raw, bytes) else raw


def _job_id(raw: bytes) -> str:
    message = json.loads(raw)
    return str((message[0] if isinstance(message, list) else message)["headers"].get("id"))


class Database:
    """What the effects' reader does not tell."""

    def __init__(self, url: str) -> None:
        self._engine = make_engine(url, read_only=True)

    def finished_orders(self) -> dict[str, str]:
        """Orders that wait for no payment any more, and their states."""
        query = sa.select(orders.c.id, orders.c.state).where(orders.c.state != "reserved")
        with self._engine.connect() as connection:
            return {row.id: row.state for row in connection.execute(query)}

    def job_states(self) -> dict[str, str]:
        """The state of every job that the database knows."""
        with self._engine.connect() as connection:
            return {row.id: row.state for row in connection.execute(sa.select(jobs.c.id, jobs.c.state))}

    def ask(self, client: Redis, job_id: str) -> str:
        """What the worker's own command would say of a job."""
        return status(self._engine, client, job_id, queues=QUEUES).state or "unknown"

    def rows(self, table: str) -> int:
        """How many rows a table has."""
        with self._engine.connect() as connection:
            return int(connection.execute(sa.select(sa.func.count()).select_from(sa.table(table))).scalar_one())

    def claimed(self) -> set[str]:
        """Keys of effects that were begun and are not done."""
        query = sa.text("SELECT key FROM effects WHERE state <> 'done'")
        with self._engine.connect() as connection:
            return set(connection.execute(query).scalars())

    def messages(self) -> dict[str, int]:
        """How often the text message of each reference was sent."""
        query = sa.text("SELECT reference, count(*) FROM sandbox_sms GROUP BY reference")
        with self._engine.connect() as connection:
            return {row[0]: int(row[1]) for row in connection.execute(query)}

    def close(self) -> None:
        """Let it go."""
        self._engine.dispose()
