"""The keys in Redis. The names are a contract: the operator reads them, and tools may.

- `workerpool:delayed:{queue}`: sorted set, tag -> Unix seconds at which the job comes due.
- `workerpool:delayed:{queue}:messages`: hash, tag -> list it goes to, a line feed, kombu's message as JSON.
- `workerpool:dead-letters:{queue}`: sorted set, letter id -> Unix seconds at which it died.
- `workerpool:dead-letters:{queue}:letters`: hash, letter id -> the letter as JSON.
- `workerpool:dead-letters:{queue}:messages`: hash, letter id -> the message just as it lay in the queue.
- `workerpool:dead-letter-queues`: set of the queues that have ever had one.
- `workerpool:cron`: hash, schedule -> Unix seconds of the occurrence that was put in last.
- `workerpool:limit:{kind}:{name}`: a rate limit's theoretical arrival time, for `queue` and `provider`; expires.
"""

from __future__ import annotations

CRON = "workerpool:cron"
DEAD_LETTER_QUEUES = "workerpool:dead-letter-queues"


def delayed(queue: str) -> str:
    """The sorted set of a queue's delayed jobs."""
    return f"workerpool:delayed:{queue}"


def delayed_messages(queue: str) -> str:
    """The hash of their messages."""
    return f"{delayed(queue)}:messages"


def dead_letters(queue: str) -> str:
    """The sorted set of a queue's dead letters."""
    return f"workerpool:dead-letters:{queue}"


def dead_letter_bodies(queue: str) -> str:
    """The hash of the letters themselves."""
    return f"{dead_letters(queue)}:letters"


def dead_letter_messages(queue: str) -> str:
    """The hash of their messages."""
    return f"{dead_letters(queue)}:messages"


def limit(kind: str, name: str) -> str:
    """The state of a rate limit; `kind` is "queue" or "provider"."""
    return f"workerpool:limit:{kind}:{name}"
