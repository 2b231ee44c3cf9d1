"""Where a job's message is in Redis right now: the truth for jobs that no worker has begun.

Redis keeps messages by delivery tag, not by the job's id, so they have to be read. That is bounded: of each list or
hash the first thousands, of lists those that are fetched next, and the answer names what was not read to its end.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from workerpool_worker.messages import keys
from workerpool_worker.messages.headers import CORRELATION_ID, ENQUEUED_AT
from workerpool_worker.messages.history import History
from workerpool_worker.messages.letters import Letter
from workerpool_worker.messages.wire import due_s_of

PRIORITY_STEPS: Final = (0, 3, 6, 9)
"""kombu's, which are also the bundled worker's."""

_SEPARATOR = "\x06\x16"
_PAGE = 200
_KEYS_A_PAGE = 1_000
_MOST_KEYS = 200_000
_COPIES = 9
_SHARED_UNACKED = "unacked"

Kind = Literal["queue", "delayed", "unacked", "dead letters", "outbox"]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a job's message was found.

    Attributes:
        kind: "unacked" is in the hands of a worker, "outbox" is the table of what Redis has not been given yet.
        key: Of Redis, or the table's name.
        queue: Where it was sent.
        task: Its task.
        tries: What it has behind it.
        ahead: How many messages of its list are fetched before it.
        due_at: When it comes due, Unix seconds; so for all times.
        died_at: When it went to the dead letters.
        error_class: Why, for a dead letter.
        error: The same in words.
        enqueued_at: When it was sent.
        correlation_id: What it belongs to.
    """

    kind: Kind
    key: str
    queue: str
    task: str | None = None
    tries: int = 0
    ahead: int | None = None
    due_at: float | None = None
    died_at: float | None = None
    error_class: str | None = None
    error: str | None = None
    enqueued_at: float | None = None
    correlation_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Search:
    """What a look into Redis found.

    Attributes:
        live: Where the message is that will be, or is being, worked on.
        letter: The latest dead letter of the job.
        looked_at: The keys that were there to be read.
        gave_up: Those of them that were not read to their end.
    """

    live: Place | None
    letter: Place | None
    looked_at: tuple[str, ...]
    gave_up: tuple[str, ...]


def search(
    client: Any,
    job_id: str,
    *,
    queues: Sequence[str],
    priority_steps: Sequence[int] = PRIORITY_STEPS,
    prefix: str = "",
    most: int = 20_000,
) -> Search:
    """Look for a job's message. It may move meanwhile; who finds nothing looks again.

    Args:
        client: Of redis-py, without `decode_responses`: a message may be any bytes.
        job_id: The Celery task's id.
        queues: Where it may have been sent.
        priority_steps: Of the lists of each queue.
        prefix: Celery's `global_keyprefix`.
        most: How many messages of a list or hash are read.

    Raises:
        redis.exceptions.RedisError: Redis cannot be asked.
    """
    look = _Look(client=client, job_id=job_id, prefix=prefix, most=most)
    letter = look.dead_letter(queues)
    live = look.delayed(queues) or look.lists(queues, priority_steps) or look.unacked()
    return Search(live=live, letter=letter, looked_at=tuple(look.looked_at), gave_up=tuple(look.gave_up))


@dataclass(kw_only=True)
class _Look:
    client: Any
    job_id: str
    prefix: str
    most: int
    looked_at: list[str] = field(default_factory=list)
    gave_up: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        escaped = json.dumps(self.job_id)[1:-1].encode()
        self._needles = {escaped, self.job_id.encode("utf-8", "replace")}

    def dead_letter(self, queues: Sequence[str]) -> Place | None:
        # A second letter of the same job has its id with ~2, as the script that buries them names it.
        ids = [self.job_id, *(f"{self.job_id}~{copy}" for copy in range(2, _COPIES + 1))]
        found: list[Place] = []
        for queue in queues:
            key = self.prefix + keys.dead_letter_bodies(queue)
            self.looked_at.append(key)
            letters = [_letter(raw) for raw in self.client.hmget(key, ids) if raw is not None]
            found += [_of_letter(letter, key) for letter in letters if letter is not None]
        return max(found, key=lambda place: place.died_at or 0.0, default=None)

    def delayed(self, queues: Sequence[str]) -> Place | None:
        for queue in queues:
            key = self.prefix + keys.delayed_messages(queue)
            for tag, value in self._hash(key):
                if (message := self._ours(value.partition(b"\n")[2])) is not None:
                    due = self.client.zscore(self.prefix + keys.delayed(queue), tag)
                    return _place(message, "delayed", key, queue, due_at=None if due is None else float(due))
        return None

    def lists(self, queues: Sequence[str], steps: Sequence[int]) -> Place | None:
        for queue in queues:
            ahead = 0
            for step in sorted(steps):
                key = self.prefix + (f"{queue}{_SEPARATOR}{step}" if step else queue)
                length = int(self.client.llen(key))
                if not length:
                    continue
                for before, raw in enumerate(self._list(key)):
                    if (message := self._ours(raw)) is not None:
                        return _place(message, "queue", key, queue, ahead=ahead + before)
                ahead += length
        return None

    def unacked(self) -> Place | None:
        for key in (self.prefix + _SHARED_UNACKED, *self._pools()):
            for _, value in self._hash(key):
                # kombu's [message, exchange, routing key]
                if (message := self._ours(value)) is not None:
                    return _place(message, "unacked", key, _queue_of(message))
        return None

    def _pools(self) -> Iterator[str]:
        cursor, seen = 0, 0
        while True:
            pattern = f"{self.prefix}workerpool:*:unacked"
            cursor, page = self.client.scan(cursor, match=pattern, count=_KEYS_A_PAGE, _type="hash")
            yield from sorted(map(_text, page))
            seen += _KEYS_A_PAGE
            if not cursor:
                return
            if seen >= _MOST_KEYS:
                self.gave_up.append(pattern)
                return

    def _hash(self, key: str) -> Iterator[tuple[bytes, bytes]]:
        cursor, seen = 0, 0
        while True:
            cursor, page = self.client.hscan(key, cursor, count=_PAGE)
            if page and not seen:
                self.looked_at.append(key)
            seen += len(page)
            for name, value in page.items():
                yield _bytes(name), _bytes(value)
            if not cursor:
                return
            if seen >= self.most:
                self.gave_up.append(key)
                return

    def _list(self, key: str) -> Iterator[bytes]:
        """From the end that is fetched next."""
        self.looked_at.append(key)
        for start in range(0, self.most, _PAGE):
            page = self.client.lrange(key, -start - _PAGE, -start - 1)
            yield from (_bytes(raw) for raw in reversed(page))
            if len(page) < _PAGE:
                return
        self.gave_up.append(key)

    def _ours(self, raw: bytes) -> dict[str, Any] | None:
        """The message, if it is the job's. Reading them all would take long; most do not even hold the id."""
        if not any(needle in raw for needle in self._needles):
            return None
        try:
            message = json.loads(raw)
            message = message[0] if isinstance(message, list) else message
            return message if message["headers"]["id"] == self.job_id else None
        except (ValueError, KeyError, TypeError, IndexError, RecursionError):
            return None


def _place(message: dict[str, Any], kind: Kind, key: str, queue: str, **more: Any) -> Place:
    headers = message["headers"]
    sent, belongs_to = headers.get(ENQUEUED_AT), headers.get(CORRELATION_ID)
    more.setdefault("due_at", _due_s(headers) if kind == "unacked" else None)
    return Place(
        kind=kind,
        key=key,
        queue=queue,
        task=_maybe(headers.get("task")),
        tries=History.of(headers).tries,
        enqueued_at=float(sent) if isinstance(sent, int | float) else None,
        correlation_id=_maybe(belongs_to),
        **more,
    )


def _of_letter(letter: Letter, key: str) -> Place:
    return Place(
        kind="dead letters",
        key=key,
        queue=letter.queue,
        task=letter.task,
        tries=letter.attempts,
        died_at=letter.died_at,
        error_class=letter.error,
        error=letter.text,
        enqueued_at=letter.enqueued_at,
        correlation_id=letter.correlation_id,
    )


def _letter(raw: str | bytes) -> Letter | None:
    try:
        return Letter.decode(raw)
    except ValueError:
        return None


def _queue_of(message: dict[str, Any]) -> str:
    info = (message.get("properties") or {}).get("delivery_info") or {}
    return _maybe(info.get("routing_key")) or "?"


def _maybe(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def _bytes(value: str | bytes) -> bytes:
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value


def names(found: Iterable[str]) -> str:
    """Keys as people can read them: kombu's separator is made of control characters."""
    return ", ".join(name.replace(_SEPARATOR, " priority ") for name in found)


def _due_s(headers: Mapping[str, Any]) -> float | None:
    try:
        return due_s_of(headers)
    except ValueError:
        return None
