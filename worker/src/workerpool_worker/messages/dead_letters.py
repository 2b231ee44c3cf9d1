"""The dead letters of all queues: looked at, requeued, discarded, exported and imported."""

from __future__ import annotations

import base64
import fnmatch
import json
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from workerpool_worker.messages import keys, scripts
from workerpool_worker.messages.headers import DUE_AT, ENQUEUED_AT
from workerpool_worker.messages.history import HISTORY
from workerpool_worker.messages.letters import Letter
from workerpool_worker.messages.settle import Keep

_PAGE = 200
_DAY_S = 86_400.0

# KEYS: dead letters, letters, messages, the list. ARGV: id, message. The push comes first, as everywhere; it and the
# removal are one step, so a letter is requeued once, whoever asks for it how often.
REQUEUE = """
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 0 then return 0 end
redis.call('LPUSH', KEYS[4], ARGV[2])
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('ZREM', KEYS[1], ARGV[1])
return 1
"""

# KEYS: dead letters, letters, messages. ARGV: id.
DISCARD = """
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('ZREM', KEYS[1], ARGV[1])
return redis.call('HDEL', KEYS[2], ARGV[1])
"""

# KEYS: dead letters, letters, messages, the set of queues. ARGV: id, letter, message, time, queue.
PUT = """
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then return 0 end
redis.call('SADD', KEYS[4], ARGV[5])
redis.call('HSET', KEYS[3], ARGV[1], ARGV[3])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[1], ARGV[4], ARGV[1])
return 1
"""


class ImportLineError(ValueError):
    """A line of an export that is none; the text says which and why."""


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which letters: all that match every part that is given.

    Attributes:
        queue: Of this queue.
        task: Whose task matches, with shell wildcards.
        error: Whose error's class matches, with shell wildcards.
        since: That died at this time or later, Unix seconds.
        until: That died before this time, Unix seconds.
    """

    queue: str | None = None
    task: str | None = None
    error: str | None = None
    since: float | None = None
    until: float | None = None

    def matches(self, letter: Letter) -> bool:
        """Whether it is one of them; the queue and the times are seen to by whoever reads."""
        by_task = self.task is None or fnmatch.fnmatchcase(letter.task or "", self.task)
        return by_task and (self.error is None or fnmatch.fnmatchcase(letter.error, self.error))


class DeadLetters:
    """The dead letters in one Redis.

    Args:
        client: Of redis-py, without `decode_responses`.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def queues(self) -> tuple[str, ...]:
        """The queues that have ever had one."""
        return tuple(sorted(name.decode() for name in self._client.smembers(keys.DEAD_LETTER_QUEUES)))

    def counts(self) -> dict[str, int]:
        """How many each queue has, queues without any left out."""
        queues = self.queues()
        with self._client.pipeline(transaction=False) as pipe:
            for queue in queues:
                pipe.zcard(keys.dead_letters(queue))
            found = dict(zip(queues, pipe.execute(), strict=True))
        return {queue: count for queue, count in found.items() if count}

    def find(self, wanted: Filter) -> Iterator[Letter]:
        """The letters, queue by queue, the newest first. Those that go meanwhile are left out."""
        for queue in (wanted.queue,) if wanted.queue is not None else self.queues():
            for letter in self._of_queue(queue, wanted):
                if wanted.matches(letter):
                    yield letter

    def named(self, letter_id: str) -> tuple[Letter, ...]:
        """The letters of this id: one, or one each of several queues, or none."""
        found = ((queue, self._client.hget(keys.dead_letter_bodies(queue), letter_id)) for queue in self.queues())
        return tuple(_decoded(letter_id, queue, raw) for queue, raw in found if raw is not None)

    def message(self, letter: Letter) -> bytes | None:
        """The message as it lay in the queue; None where the letter is gone."""
        raw: bytes | None = self._client.hget(keys.dead_letter_messages(letter.queue), letter.id)
        return raw

    def requeue(self, letter: Letter) -> bool:
        """Put it back into its queue, to be tried as if it were new; whether it was still there."""
        raw = self.message(letter)
        if raw is None:
            return False
        places = [*_places(letter.queue), letter.list_key]
        return bool(self._run(REQUEUE, places, letter.id, _as_new(raw)))

    def discard(self, letter: Letter) -> bool:
        """Remove it for good; whether it was still there."""
        return bool(self._run(DISCARD, _places(letter.queue), letter.id))

    def export(self, wanted: Filter) -> Iterator[str]:
        """The letters with their messages, a line of JSON each."""
        for letter in self.find(wanted):
            raw = self.message(letter)
            if raw is not None:
                yield exported(letter, raw)

    def put(self, letter: Letter, message: bytes) -> bool:
        """Put in a letter as it was exported; False where one of its id is there."""
        places = [*_places(letter.queue), keys.DEAD_LETTER_QUEUES]
        return bool(self._run(PUT, places, letter.id, letter.encode(), message, repr(letter.died_at), letter.queue))

    def trim(self, keep: Keep, *, now_s: float | None = None) -> int:
        """Remove what is older or more than is to be kept; how many went."""
        now_s = time.time() if now_s is None else now_s
        gone = 0
        for queue in self.queues():
            dead = keys.dead_letters(queue)
            old = self._client.zrangebyscore(dead, "-inf", now_s - keep.days * _DAY_S)
            over = self._client.zcard(dead) - len(old) - keep.letters
            extra = self._client.zrange(dead, len(old), len(old) + over - 1) if over > 0 else []
            gone += sum(int(self._run(DISCARD, _places(queue), name)) for name in [*old, *extra])
        return gone

    def _of_queue(self, queue: str, wanted: Filter) -> Iterator[Letter]:
        dead, bodies = keys.dead_letters(queue), keys.dead_letter_bodies(queue)
        newest = "+inf" if wanted.until is None else f"({wanted.until!r}"
        oldest = "-inf" if wanted.since is None else repr(wanted.since)
        # All ids at once: read page by page, those that are requeued meanwhile would let others slip by.
        ids = self._client.zrevrangebyscore(dead, newest, oldest)
        for start in range(0, len(ids), _PAGE):
            page = ids[start : start + _PAGE]
            for name, raw in zip(page, self._client.hmget(bodies, page), strict=True):
                if raw is not None:
                    yield _decoded(name.decode(), queue, raw)

    def _run(self, script: str, places: list[str], *arguments: object) -> Any:
        return scripts.run(self._client, script, places, arguments)


def exported(letter: Letter, message: bytes) -> str:
    """One line of an export."""
    try:
        text, encoding = message.decode(), "utf-8"
    except UnicodeDecodeError:
        text, encoding = base64.b64encode(message).decode(), "base64"
    return json.dumps({"letter": asdict(letter), "message": text, "encoding": encoding}, ensure_ascii=False)


def imported(lines: Iterable[str]) -> Iterator[tuple[Letter, bytes]]:
    """Read an export; empty lines are passed over.

    Raises:
        ImportLineError: a line is none.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
            letter = Letter.of(found["letter"])
            text = found["message"]
            message = base64.b64decode(text, validate=True) if found["encoding"] == "base64" else text.encode()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ImportLineError(f"line {number} is no dead letter: {type(error).__name__}: {error}") from error
        yield letter, message


def _decoded(letter_id: str, queue: str, raw: bytes) -> Letter:
    try:
        # The name it is kept under counts: a second letter of the same job has a suffix.
        return Letter.of({**json.loads(raw), "id": letter_id, "queue": queue})
    except (ValueError, TypeError):
        text = "the letter cannot be read; its message is there"
        return Letter(id=letter_id, queue=queue, list_key=queue, error="Unreadable", text=text, died_at=0.0)


def _places(queue: str) -> list[str]:
    return [keys.dead_letters(queue), keys.dead_letter_bodies(queue), keys.dead_letter_messages(queue)]


def _as_new(raw: bytes) -> bytes:
    """The message with nothing behind it; what is none stays as it is."""
    try:
        message = json.loads(raw)
        headers, properties = dict(message["headers"]), dict(message["properties"])
        info = {**properties["delivery_info"], "redelivered": False}
    except (ValueError, KeyError, TypeError):
        return raw
    for name in (HISTORY, DUE_AT, "redelivered"):
        headers.pop(name, None)
    # Its age counts from now: what waited among the dead letters did not wait for a worker.
    headers |= {"retries": 0, "eta": None, ENQUEUED_AT: time.time()}
    properties |= {"delivery_tag": str(uuid.uuid4()), "delivery_info": info}
    return json.dumps({**message, "headers": headers, "properties": properties}).encode()
