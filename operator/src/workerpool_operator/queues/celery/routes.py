"""Which queue a held message came from, where it was sent through an exchange of its own.

Through the default exchange, Celery's habit, the routing key is the queue. Other exchanges keep their bindings in the
set ``_kombu.binding.{exchange}`` as ``routing key, pattern, queue`` (the pattern, a regular expression, is that of a
topic exchange); it is read when such an exchange is first met, and again now and then while a key finds no queue.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from workerpool_operator.queues.celery.message import Message
from workerpool_operator.queues.replies import pack

_SEPARATOR = "\x06\x16"
_ASK_AGAIN_S = 60.0
_EXCHANGES_MAX = 256


class Routes:
    """The bindings of one key prefix, and the queues that pools ask about."""

    def __init__(self, key_prefix: str) -> None:
        self._key_prefix = key_prefix
        self._bindings: dict[str, list[tuple[str, str, str]]] = {}
        self._asked_s: dict[str, float] = {}

    def queue(self, message: Message, queues: Collection[str]) -> str:
        """The queue a message came from: by the bindings, else the best guess, else its routing key."""
        if not message.exchange:
            return message.routing_key
        bound = self._bound(message)
        if bound is not None:
            return bound
        # Celery gives the exchange of a declared queue the queue's name.
        guessed = message.routing_key not in queues and message.exchange in queues
        return message.exchange if guessed else message.routing_key

    def questions(self, messages: Iterable[Message | None], now_s: float) -> list[tuple[str, bytes]]:
        """The exchanges to ask about and the command for each; empty when every message finds its queue."""
        lost = {
            message.exchange
            for message in messages
            if message is not None and message.exchange and self._bound(message) is None
        }
        due = [one for one in sorted(lost) if now_s - self._asked_s.get(one, -_ASK_AGAIN_S) >= _ASK_AGAIN_S]
        self._asked_s.update(dict.fromkeys(due[:_EXCHANGES_MAX], now_s))
        return [(one, pack("SMEMBERS", f"{self._key_prefix}_kombu.binding.{one}")) for one in due[:_EXCHANGES_MAX]]

    def answer(self, exchange: str, members: object) -> None:
        """Take in the reply about one exchange; refused, its messages keep the best guess."""
        if not isinstance(members, list):
            return
        if exchange not in self._bindings and len(self._bindings) >= _EXCHANGES_MAX:
            return
        rows = [m.decode(errors="replace").split(_SEPARATOR) for m in members if isinstance(m, bytes)]
        self._bindings[exchange] = [(row[0], row[1], row[2]) for row in rows if len(row) == 3]  # noqa: PLR2004

    def _bound(self, message: Message) -> str | None:
        for routing_key, pattern, queue in self._bindings.get(message.exchange, ()):
            if _matches(routing_key, pattern, message.routing_key):
                return queue
        return None


def _matches(routing_key: str, pattern: str, wanted: str) -> bool:
    if not pattern:
        return routing_key == wanted
    try:
        return re.match(pattern, wanted) is not None
    except re.error:
        return False
