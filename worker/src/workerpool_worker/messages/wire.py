"""kombu's message as it lies in Redis: an object with `body` (base64 of JSON), `headers` and `properties`.

`properties.delivery_tag` names one delivery, `properties.delivery_info` holds the exchange (ours is the default, "")
and the routing key (the queue), `properties.priority` the step of the list it goes to (0, the highest, is the list
named like the queue). See kombu/transport/virtual/base.py and kombu/transport/redis.py.
"""

from __future__ import annotations

import base64
import copy
import json
import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from workerpool_worker.messages.headers import DUE_AT
from workerpool_worker.messages.history import HISTORY, History

Payload = dict[str, Any]

_LATEST_S = datetime(9999, 1, 1, tzinfo=UTC).timestamp()


def message_for(
    app: Any,
    task: str,
    arguments: Mapping[str, Any],
    *,
    job_id: str,
    queue: str,
    due_s: float | None = None,
    headers: Mapping[str, Any] | None = None,
    priority: int = 0,
    tag: str | None = None,
) -> Payload:
    """A job as Celery's `send_task` would have kombu put it into a list."""
    eta = None if due_s is None else datetime.fromtimestamp(due_s, UTC)
    made = app.amqp.as_task_v2(job_id, task, kwargs=dict(arguments), eta=eta, ignore_result=True)
    return {
        "body": base64.b64encode(json.dumps(made.body).encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {**made.headers, **(headers or {})},
        "properties": {
            **made.properties,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": queue},
            "priority": priority,
            "body_encoding": "base64",
            "delivery_tag": tag or str(uuid.uuid4()),
        },
    }


def again(payload: Payload, history: History, *, due_s: float | None = None, redelivered: bool = False) -> Payload:
    """The message of the next try: a delivery of its own, so that what an older one still does cannot touch it.

    Args:
        payload: The message of the try before.
        history: What the job has behind it now.
        due_s: When it comes due, Unix seconds; None: now.
        redelivered: Whether the try before was cut off.
    """
    made = copy.copy(payload)
    made["headers"] = headers = {**(payload.get("headers") or {}), HISTORY: history.as_header()}
    headers.pop(DUE_AT, None)
    headers["retries"] = history.tries
    headers["redelivered"] = redelivered
    headers["eta"] = None if due_s is None else datetime.fromtimestamp(min(due_s, _LATEST_S), UTC).isoformat()
    info = {**payload["properties"].get("delivery_info", {}), "redelivered": redelivered}
    made["properties"] = {**payload["properties"], "delivery_tag": str(uuid.uuid4()), "delivery_info": info}
    return made


def history_of(payload: Payload) -> History:
    """What the job has behind it. kombu itself only marks a message that it restores."""
    history = History.of(payload.get("headers"))
    info = payload["properties"].get("delivery_info") or {}
    return replace(history, cut_off=True) if info.get("redelivered") else history


def encode(payload: Payload) -> str:
    """The message as it lies in a list."""
    return json.dumps(payload)


def queue_of(payload: Payload) -> str:
    """The queue it came from, as the worker noted when it fetched it, else the one it is addressed to.

    Raises:
        ValueError: it says none.
    """
    try:
        info = payload["properties"]["delivery_info"]
        queue = info.get("queue") or info["routing_key"]
    except (KeyError, TypeError) as error:
        raise ValueError("the message names no queue") from error
    if not isinstance(queue, str) or not queue:
        raise ValueError("the message names no queue")
    return queue


def due_s_of(headers: Mapping[str, Any]) -> float | None:
    """When a job comes due by its header `eta`, Unix seconds; None without one.

    Raises:
        ValueError: nobody can read it. Running the job now would be the wrong guess.
    """
    text = headers.get("eta")
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"the header eta is no time: {text!r}") from error
