"""What Celery's remote control looks like on the wire: kombu's ``pidbox``, written and read without kombu. Pure.

A command is published on the channel ``{key prefix}/{db}.celery.pidbox``, to which every worker listens, and names
those that it is for. It is JSON whose base64 ``body`` is JSON as well: ``method``, ``arguments``, ``destination``, and
where an answer is wanted ``ticket`` and ``reply_to``, the exchange and routing key to answer to.

Celery's own client makes a queue for its answers and binds it to an exchange. Through the exchange with no name a
routing key is a queue, and a queue of Redis is a list: an answer that is to go to that exchange needs nothing made
beforehand. It is a message whose ``headers`` have the ticket and whose body is ``{worker: what it says}``.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

EXCHANGE = "celery.pidbox"
REPLIES = "workerpool:operator.reply.celery.pidbox"
"""The list that workers push their answers to. Its name is fit for the rights of users that may only do what Celery's
remote control does (``~*.celery.pidbox*``), and of those of the bundled worker (``~workerpool:*``)."""


def channel(key_prefix: str, database: int) -> str:
    """Where workers of a key prefix listen."""
    return f"{key_prefix}/{database}.{EXCHANGE}"


def command(
    method: str, arguments: Mapping[str, Any], workers: Collection[str], *, tag: str, ticket: str | None = None
) -> bytes:
    """A command to some workers; with a ticket they answer into :data:`REPLIES`.

    Args:
        method: The command's name.
        arguments: Its keyword arguments.
        workers: The host names of those that are to obey.
        tag: A name for the message that no other has.
        ticket: What the answers carry.
    """
    body: dict[str, Any] = {
        "method": method,
        "arguments": dict(arguments),
        "destination": sorted(workers),
        "pattern": None,
        "matcher": None,
    }
    if ticket is not None:
        body |= {"ticket": ticket, "reply_to": {"exchange": "", "routing_key": REPLIES}}
    message = {
        "body": base64.b64encode(json.dumps(body).encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"clock": 0, "expires": 0},
        "properties": {
            "delivery_mode": 1,
            "delivery_info": {"exchange": EXCHANGE, "routing_key": ""},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": tag,
        },
    }
    return json.dumps(message).encode()


def answer_in(raw: object, tickets: Collection[str]) -> tuple[str, dict[str, list[Any]]] | None:
    """A worker's answer: the ticket, and the list that it answers with, by its host name.

    None where it answers none of these tickets, or with something else: a worker that fails says ``{"error": ...}``.
    """
    try:
        message = json.loads(raw)  # type: ignore[arg-type]
        ticket = message["headers"]["ticket"]
        if ticket not in tickets:
            return None
        body = json.loads(base64.b64decode(message["body"]))
        if not all(isinstance(said, list) for said in body.values()):
            return None
        return str(ticket), {str(worker): said for worker, said in body.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def queue_names(said: Iterable[Any]) -> frozenset[str] | None:
    """The queues that an answer to ``active_queues`` names; None where it is no such answer."""
    try:
        return frozenset(str(queue["name"]) for queue in said)
    except (TypeError, KeyError):
        return None
