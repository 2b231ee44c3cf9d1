"""Who is busy: the heartbeats that every stock Celery worker publishes, with no setting, every 2 seconds.

The message is kombu's: JSON whose base64 ``body`` is the event, JSON as well, with ``type``, ``hostname``, ``pid``,
``active`` (jobs being executed), ``processed`` (jobs started so far) and ``freq`` (seconds between heartbeats). The
bundled worker adds how long its jobs ran, see :func:`job_seconds`.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from hiredis import ReplyError

from workerpool_operator.core.observation import Cause, JobSeconds
from workerpool_operator.ports import WorkerBeat
from workerpool_operator.queues.address import BrokerError
from workerpool_operator.queues.connection import Connection
from workerpool_operator.queues.replies import pack

SILENCE_S = 10.0
"""After this long without a heartbeat a worker is no longer reported (after 3 heartbeats where they are rarer)."""
_EVENTS = ("worker.online", "worker.heartbeat", "worker.offline")
_RETRY_S = 1.0
_REFUSED_RETRY_S = 10.0
_PING_EVERY_S = 10.0
_WORKERS_MAX = 100_000
_SUMS = ("job_count", "job_seconds", "job_seconds_squared")
_SUM_MAX = 1e24
"""No worker comes near it, and sums of such numbers stay finite."""
_ROUNDING = 1e-6

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Heard:
    beat: WorkerBeat
    at_s: float
    silence_s: float


class Heartbeats:
    """Listens on a connection of its own, in a task of its own; a broker that is away never makes a reader wait."""

    def __init__(self, connection: Connection, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._connection = connection
        self._monotonic = monotonic
        self._heard: dict[tuple[str, int], _Heard] = {}
        self._prefixes: tuple[str, ...] = ()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._complained_of: Cause | None = None
        self.listening = asyncio.Event()

    def listen(self, prefixes: tuple[str, ...]) -> None:
        """Listen to the workers of these key prefixes from now on."""
        if prefixes != self._prefixes:
            self._prefixes = prefixes
            self._changed.set()
            if self.listening.is_set():
                # Ends the wait for the next message, which may never come.
                self._connection.drop()
        if self._task is None and prefixes:
            self._task = asyncio.create_task(self._run(), name=f"heartbeats of {self._connection.address}")

    def beats(self) -> tuple[WorkerBeat, ...]:
        """The workers heard of lately, each with its newest heartbeat."""
        now_s = self._monotonic()
        self._heard = {who: heard for who, heard in self._heard.items() if now_s - heard.at_s <= heard.silence_s}
        return tuple(
            WorkerBeat(
                hostname=heard.beat.hostname,
                pid=heard.beat.pid,
                active=heard.beat.active,
                processed=heard.beat.processed,
                age_s=max(0.0, now_s - heard.at_s),
                finished=heard.beat.finished,
            )
            for heard in self._heard.values()
        )

    async def close(self) -> None:
        """End the task and close the connection."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        await self._connection.close()

    async def _run(self) -> None:
        while True:
            pause_s = _RETRY_S
            try:
                await self._listen_once()
            except BrokerError as error:
                if not self._changed.is_set():
                    pause_s = self._complain(error)
            self.listening.clear()
            self._connection.drop()
            if not self._changed.is_set():
                await asyncio.sleep(pause_s)

    async def _listen_once(self) -> None:
        self._changed.clear()
        channels = [
            f"{prefix}/{self._connection.address.database}.celeryev/{event}"
            for prefix in self._prefixes
            for event in _EVENTS
        ]
        replies = await self._connection.execute(
            # One command each: a refusal of one command with many channels would be one reply, not many.
            b"".join(pack("SUBSCRIBE", channel) for channel in channels),
            len(channels),
        )
        for reply in replies:
            if isinstance(reply, ReplyError):
                raise self._connection.refused(reply, "SUBSCRIBE", channels[0].rpartition("/")[0] + "/*")
        self._complained_of = None
        self.listening.set()
        pinged = False
        while not self._changed.is_set():
            try:
                reply = await self._connection.next_reply(_PING_EVERY_S)
                pinged = False
            except TimeoutError:
                # No worker speaks, or the network swallowed the connection: only an answer tells which.
                if pinged:
                    raise BrokerError(Cause.TIMEOUT, f"{self._connection.address} went silent") from None
                self._connection.send(pack("PING"))
                pinged = True
                continue
            if isinstance(reply, list) and len(reply) == 3 and reply[0] == b"message":  # noqa: PLR2004
                self.hear(reply[2])

    def hear(self, payload: object) -> None:
        """Take in one published message; what is not a worker's event is ignored."""
        try:
            event = json.loads(base64.b64decode(json.loads(payload)["body"]))  # type: ignore[arg-type]
            who = (str(event["hostname"]), int(event["pid"]))
            if event["type"] == "worker-offline":
                self._heard.pop(who, None)
                return
            beat = WorkerBeat(
                hostname=who[0],
                pid=who[1],
                active=max(0, int(event["active"])),
                processed=max(0, int(event["processed"])),
                age_s=0.0,
                finished=job_seconds(event),
            )
            silence_s = max(SILENCE_S, 3 * float(event.get("freq") or 0))
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            return
        if who in self._heard or len(self._heard) < _WORKERS_MAX:
            self._heard[who] = _Heard(beat=beat, at_s=self._monotonic(), silence_s=silence_s)

    def _complain(self, error: BrokerError) -> float:
        cause = error.unavailable.cause
        if cause is not self._complained_of:
            self._complained_of = cause
            # A broker that is away says so in every reading; only what heartbeats alone suffer from is news.
            level = logging.WARNING if cause is Cause.NO_PERMISSION else logging.INFO
            _log.log(level, "no heartbeats: %s", error.unavailable.message)
        return _REFUSED_RETRY_S if cause in {Cause.AUTH, Cause.NO_PERMISSION} else _RETRY_S


def job_seconds(event: Mapping[str, Any]) -> JobSeconds | None:
    """How long a worker's jobs ran since its start: ``job_count``, ``job_seconds`` and ``job_seconds_squared``.

    None where it does not say, or says what cannot be: a size is decided by these numbers, and whoever may publish to
    the broker may send them.
    """
    jobs, seconds, squared = (_sum_of(event.get(name)) for name in _SUMS)
    if jobs is None or seconds is None or squared is None or not jobs.is_integer():
        return None
    # no lengths add up to more than the square root of their number times their squares (Cauchy and Schwarz)
    if seconds > math.sqrt(jobs * squared) * (1 + _ROUNDING):
        return None
    return JobSeconds(jobs=int(jobs), seconds=seconds, squared=squared)


def _sum_of(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # compared before it is converted: an integer may be too large for a float; what is no number is not in between
    return float(value) if 0 <= value <= _SUM_MAX else None
