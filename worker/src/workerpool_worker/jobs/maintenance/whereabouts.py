"""Which of many jobs nobody has any more: one look through Redis for all of them, instead of one for each.

In a rush thousands of jobs are late and none is lost, so the look has a bound. Beyond it nothing is concluded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from workerpool_worker.messages import keys
from workerpool_worker.messages.letters import Letter
from workerpool_worker.outbox.table import outbox
from workerpool_worker.runtime.database import reading
from workerpool_worker.settings import KNOWN_QUEUES
from workerpool_worker.store.places import PRIORITY_STEPS

MOST = 20_000
"""Messages read of all queues together; some 40 MB."""

_PAGE = 200
_SEPARATOR = "\x06\x16"
_UNACKED = ("unacked", "workerpool:*:unacked")
# The id among a message's headers, wherever it stands. More than is meant only keeps a job from being taken for lost.
_ID = re.compile(rb'\\?"id\\?":\s*\\?"([^"\\]+)')


@dataclass(frozen=True, kw_only=True)
class Whereabouts:
    """What was found of the jobs that were asked for.

    Attributes:
        gone: Those that are nowhere, dead letters aside.
        letters: The dead letters of those, by the job's id.
        complete: Whether everything was read; if not, `gone` is empty.
    """

    gone: frozenset[str]
    letters: dict[str, Letter]
    complete: bool = True


def look_for(engine: sa.Engine, client: Any, job_ids: Iterable[str], *, queues: Sequence[str]) -> Whereabouts:
    """Look for jobs in the outbox and in Redis, twice: a message may move to where the first look had been already.

    Args:
        engine: The database.
        client: Of redis-py, without `decode_responses`.
        job_ids: Celery's ids.
        queues: Where they may be, besides the worker's own queues and those that ever had a dead letter.

    Raises:
        redis.exceptions.RedisError: Redis cannot be asked.
        sqlalchemy.exc.SQLAlchemyError: the database cannot be read.
    """
    buried = sorted(name.decode() for name in client.smembers(keys.DEAD_LETTER_QUEUES))
    everywhere = tuple(dict.fromkeys((*queues, *KNOWN_QUEUES, *buried)))
    # An id that JSON writes in another way would not be found by its letters.
    left = {job_id for job_id in job_ids if json.dumps(job_id)[1:-1] == job_id}
    for _ in range(2):
        if not left:
            break
        left -= _in_outbox(engine, left)
        seen, complete = _ids_in_redis(client, everywhere)
        left -= seen
        if left and not complete:
            return Whereabouts(gone=frozenset(), letters={}, complete=False)
    return Whereabouts(gone=frozenset(left), letters=_letters(client, buried, sorted(left)))


def _ids_in_redis(client: Any, queues: Sequence[str]) -> tuple[set[str], bool]:
    """The ids of all messages, and whether all were read. In the order in which messages move most often."""
    seen: set[str] = set()
    read = 0
    for page in _pages(client, queues):
        for raw in page:
            seen.update(found.decode("utf-8", "replace") for found in _ID.findall(raw))
        read += len(page)
        if read > MOST:
            return seen, False
    return seen, True


def _pages(client: Any, queues: Sequence[str]) -> Iterator[list[bytes]]:
    for queue in queues:
        for step in PRIORITY_STEPS:
            name = f"{queue}{_SEPARATOR}{step}" if step else queue
            start = 0
            while page := client.lrange(name, start, start + _PAGE - 1):
                yield page
                start += _PAGE
    for name in [keys.delayed_messages(queue) for queue in queues]:
        yield from _hash(client, name)
    for pattern in _UNACKED:
        for name in client.scan_iter(match=pattern, count=1_000, _type="hash"):
            yield from _hash(client, name)


def _hash(client: Any, name: bytes | str) -> Iterator[list[bytes]]:
    cursor = 0
    while True:
        cursor, page = client.hscan(name, cursor, count=_PAGE)
        yield list(page.values())
        if not cursor:
            return


def _letters(client: Any, queues: Sequence[str], job_ids: list[str]) -> dict[str, Letter]:
    found: dict[str, Letter] = {}
    if not job_ids:
        return found
    for queue in queues:
        for job_id, raw in zip(job_ids, client.hmget(keys.dead_letter_bodies(queue), job_ids), strict=True):
            if raw is None:
                continue
            try:
                found[job_id] = Letter.decode(raw)
            except ValueError:
                # The letter is there, which is what counts.
                found[job_id] = Letter(
                    id=job_id,
                    queue=queue,
                    list_key=queue,
                    error="Unreadable",
                    text="the letter cannot be read",
                    died_at=0.0,
                )
    return found


def _in_outbox(engine: sa.Engine, job_ids: set[str]) -> set[str]:
    with reading(engine) as connection:
        query = sa.select(outbox.c.job_id).where(outbox.c.job_id.in_(sorted(job_ids)))
        return set(connection.execute(query).scalars())
