"""From cycles and problems to what people see on the object: its status and its events.

Decides little: :mod:`~workerpool_operator.kube.status` says what a status is and whether it is worth a write,
:mod:`~workerpool_operator.kube.events` which events there are. Here they are kept for each pool and sent, while this
process leads. What could not be sent is sent anew from the next state, never replayed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any

from workerpool_operator.core.observation import InFlight
from workerpool_operator.kube import api_paths as paths
from workerpool_operator.kube.api import ApiError, KubeApi, NotFound
from workerpool_operator.kube.events import (
    EventMemory,
    EventToSend,
    admit,
    cautions_event,
    event_body,
    events_for,
    events_for_problems,
)
from workerpool_operator.kube.names import selector_text
from workerpool_operator.kube.objects import PoolObject
from workerpool_operator.kube.problems import DeploymentState, Problem
from workerpool_operator.kube.registry import Registry
from workerpool_operator.kube.render_env import cautions
from workerpool_operator.kube.status import coarse, coarse_age_s, project, scaled_at_s, worth_writing
from workerpool_operator.ports import CycleRecord, Notice, OutcomeKind, PoolKey

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.25
WRITES_AT_ONCE = 8
MAX_QUEUED_EVENTS = 1_000
RETRY_S = (1.0, 2.0, 5.0, 10.0)
"""A status that could not be written is tried again after so long."""


@dataclass(slots=True)
class _Pool:
    """What is kept of a pool."""

    record: CycleRecord | None = None
    problems: tuple[Problem, ...] = ()
    scaled_s: float | None = None
    cautioned: int = -1
    """The generation of the spec for which cautions were told last."""
    gist: Hashable = None
    written: dict[str, Any] | None = None
    written_s: float | None = None
    dirty: bool = True
    writing: bool = False
    failures: int = 0
    trouble: str = ""
    again_s: float = 0.0
    """Not to be written before, after it could not be."""
    events: EventMemory = field(default_factory=EventMemory)


class Reporter:
    """A sink that writes statuses and events.

    Args:
        api: Where to write.
        registry: What is known of the cluster.
        leads: Whether this process leads at this moment.
        generation: The generation of the spec with which a pool runs on its loop, None while it runs on none.
        instance: Which operator tells it.
    """

    def __init__(
        self,
        *,
        api: KubeApi,
        registry: Registry,
        leads: Callable[[], bool],
        generation: Callable[[PoolKey], int | None],
        instance: str,
    ) -> None:
        self._api, self._registry, self._leads, self._generation = api, registry, leads, generation
        self._instance = instance
        self._pools: dict[PoolKey, _Pool] = {}
        self._events: asyncio.Queue[tuple[PoolKey, str, EventToSend]] = asyncio.Queue(MAX_QUEUED_EVENTS)

    # -- what is heard

    def record(self, record: CycleRecord) -> None:
        """Take note of a cycle; most tell nothing new and cost next to nothing."""
        pool = self._pools.setdefault(record.key, _Pool())
        gist = gist_of(record)
        if gist != pool.gist or record.outcome.kind is OutcomeKind.APPLIED:
            self._tell(record.key, pool, events_for(record, pool.record))
            pool.gist, pool.dirty = gist, True
        pool.record = record
        pool.scaled_s = scaled_at_s(record) or pool.scaled_s

    def notice(self, notice: Notice) -> None:
        """Nothing happens outside cycles here."""

    def problems(self, key: PoolKey, problems: tuple[Problem, ...] | None) -> None:
        """Take note of what is wrong with a pool; None when it is gone."""
        if problems is None:
            self._pools.pop(key, None)
            return
        pool = self._pools.setdefault(key, _Pool())
        if problems != pool.problems:
            self._tell(key, pool, events_for_problems(problems, pool.problems))
            pool.problems = problems
        self._caution(key, pool)
        pool.dirty = True

    def touch(self, key: PoolKey) -> None:
        """The status of a pool's Deployment changed."""
        pool = self._pools.get(key)
        if pool is not None:
            pool.dirty = True

    def start_anew(self) -> None:
        """Forget what was written: another process may have written since."""
        self._pools.clear()

    # -- what is sent

    async def run(self) -> None:
        """Write until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._send_events())
            while True:
                await asyncio.sleep(LOOK_EVERY_S)
                if self._leads():
                    await self._write_due()

    async def _write_due(self) -> None:
        """Write the statuses that tell something new, a few at a time."""
        due = []
        now_s = time.monotonic()
        for key, pool in self._pools.items():
            if pool.dirty and not pool.writing and now_s >= pool.again_s:
                status = self._status(key, pool, now_s)
                if status is not None:
                    due.append((key, pool, status))
        gate = asyncio.Semaphore(WRITES_AT_ONCE)
        await asyncio.gather(*(self._write(gate, *one) for one in due))

    def _status(self, key: PoolKey, pool: _Pool, now_s: float) -> dict[str, Any] | None:
        """The pool's status, None where it need not be written now; one that has to wait stays marked."""
        known = self._registry.pools.get(key)
        if known is None:
            pool.dirty = False
            return None
        adopted = self._generation(key)
        decided = pool.record.generation if pool.record is not None else known.generation
        if adopted is not None and {adopted, decided} != {known.generation}:
            return None  # the loop has not decided by this spec yet
        written = pool.written if pool.written is not None else dict(known.status)
        new = self._project(known, pool, written, adopted=adopted)
        if new == written:
            pool.dirty = False
            return None
        return new if worth_writing(written, new, last_written_s=pool.written_s, now_s=now_s) else None

    def _project(
        self, known: PoolObject, pool: _Pool, written: dict[str, Any], *, adopted: int | None
    ) -> dict[str, Any]:
        deployment = self._registry.deployments.get(known.target)
        state = None
        if deployment is not None:
            state = DeploymentState(replicas=deployment.pods, ready=deployment.ready, conditions=deployment.conditions)
        return project(
            pool.record if adopted is not None else None,
            name=known.target[1],
            generation=known.generation,
            selector=selector_text(deployment.match_labels if deployment is not None else known.key.name),
            previous=written,
            problems=pool.problems,
            deployment=state,
            now_s=time.time(),
            scaled_s=pool.scaled_s,
        )

    async def _write(self, gate: asyncio.Semaphore, key: PoolKey, pool: _Pool, status: dict[str, Any]) -> None:
        async with gate:
            if not self._leads():
                return
            pool.writing = True
            try:
                patch = [{"op": "add", "path": "/status", "value": status}]
                await self._api.json_patch(paths.workerpool_status(key.namespace, key.name), patch)
            except NotFound:
                self._pools.pop(key, None)
            except ApiError as error:
                self._not_written(key, pool, error)
            else:
                pool.written, pool.written_s, pool.dirty = status, time.monotonic(), True
                pool.failures, pool.trouble = 0, ""
            finally:
                pool.writing = False

    def _not_written(self, key: PoolKey, pool: _Pool, error: ApiError) -> None:
        """Try again ever less often; say it once while it lasts."""
        pool.again_s = time.monotonic() + RETRY_S[min(pool.failures, len(RETRY_S) - 1)]
        pool.failures += 1
        if pool.trouble != str(error):
            pool.trouble = str(error)
            log.warning("pool %s: its status was not written: %s", key, error)

    def _caution(self, key: PoolKey, pool: _Pool) -> None:
        """Say once for each spec what its author should know, though it runs."""
        known = self._registry.pools.get(key)
        if known is None or known.pool is None or pool.cautioned == known.generation:
            return
        pool.cautioned = known.generation
        self._tell(key, pool, [cautions_event(text) for text in cautions(known.pool)])

    def _tell(self, key: PoolKey, pool: _Pool, events: Iterable[EventToSend]) -> None:
        known = self._registry.pools.get(key)
        pool.events, admitted = admit(pool.events, events, now_s=time.monotonic())
        for event in admitted if known is not None else ():
            if self._events.full():
                log.warning("pool %s: event %s is dropped: too many are waiting", key, event.reason)
                return
            self._events.put_nowait((key, known.uid if known is not None else "", event))

    async def _send_events(self) -> None:
        while True:
            key, uid, event = await self._events.get()
            if not self._leads():
                continue
            body = event_body(event, key, uid=uid, time_s=time.time(), instance=self._instance)
            try:
                await self._api.create(paths.events(key.namespace), body)
            except ApiError as error:
                log.warning("pool %s: event %s was not sent: %s", key, event.reason, error)


def gist_of(record: CycleRecord) -> Hashable:
    """What of a cycle can show in a status or an event: while it stays the same there is nothing to work out."""
    seen, decision = record.observation, record.decision
    held, allotment = seen.in_flight, seen.allotment
    jobs: tuple[int, ...] = ()
    if isinstance(held, InFlight):
        jobs = (coarse(seen.ready), coarse(held.running), coarse(held.scheduled), coarse(held.stranded))
    return (
        decision.target,
        decision.current,
        decision.reason,
        decision.limits,
        seen.replicas.ready,
        jobs,
        coarse_age_s(seen.oldest_job_s or 0.0),
        tuple((part.cause, part.message) for part in seen.unavailable),
        record.outcome.kind,
        record.outcome.message,
        None if allotment is None else (allotment.max_replicas, allotment.pools, allotment.disagreement),
    )
