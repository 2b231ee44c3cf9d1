"""How long jobs ran, as the pool's workers add it up: what a pool's memory makes of one heartbeat after the other."""

from __future__ import annotations

import pytest

from workerpool_operator.core.observation import InFlight, JobSeconds
from workerpool_operator.ports import PoolReading, ReplicaState, WorkerBeat
from workerpool_operator.queues.inflight import InFlightMemory, estimate

pytestmark = pytest.mark.unit

NOTHING = PoolReading(queues={}, held=0)
Ran = tuple[int, float, float]
"""Jobs, seconds, squared seconds."""


def said(processed: int, ran: Ran | None) -> ReplicaState:
    """One replica with the heartbeat of its worker."""
    finished = JobSeconds(jobs=ran[0], seconds=ran[1], squared=ran[2]) if ran else None
    beat = WorkerBeat(hostname="celery@a", pid=1, active=0, processed=processed, age_s=0, finished=finished)
    return ReplicaState(current=1, ready=1, leaving=0, silent=0, beats=(beat,))


def told(*steps: tuple[int, Ran | None], memory: InFlightMemory | None = None) -> InFlightMemory:
    memory = memory or InFlightMemory()
    for at_s, (processed, finished) in enumerate(steps):
        memory = estimate(NOTHING, said(processed, finished), memory, 10.0 + at_s)[2]
    return memory


def test_finished_adds_up_what_the_worker_says() -> None:
    assert told((5, None)).finished is None
    assert told((5, (4, 8.0, 20.0))).finished == JobSeconds(jobs=0, seconds=0, squared=0)
    memory = told((5, (4, 8.0, 20.0)), (7, (6, 11.0, 25.0)), (7, (6, 11.0, 25.0)), (7, None), (9, (8, 13.0, 27.0)))
    assert memory.finished == JobSeconds(jobs=4, seconds=5, squared=7)
    seen = estimate(NOTHING, said(9, (9, 15.0, 31.0)), memory, 20)[0]
    assert isinstance(seen, InFlight)
    assert seen.finished == JobSeconds(jobs=5, seconds=7, squared=11)


@pytest.mark.parametrize(
    ("processed", "finished"),
    [(2, (2, 3.0, 5.0)), (9, (2, 3.0, 5.0)), (9, (4, 3.0, 5.0)), (2, (6, 9.0, 99.0))],
    ids=["both fall", "jobs fall", "seconds fall", "processed falls"],
)
def test_a_worker_that_was_started_anew_counts_from_zero(processed: int, finished: Ran) -> None:
    memory = told((5, (4, 8.0, 20.0)), (5, (4, 8.0, 20.0)), (processed, finished))
    assert memory.finished == JobSeconds(jobs=finished[0], seconds=finished[1], squared=finished[2])


def test_what_a_younger_worker_finished_is_all_new() -> None:
    memory = InFlightMemory(since_s=0, settled=True)
    assert told((5, (4, 8.0, 20.0)), memory=memory).finished == JobSeconds(jobs=4, seconds=8, squared=20)
    assert told((5, None), (6, (4, 8.0, 20.0)), memory=memory).finished == JobSeconds(jobs=4, seconds=8, squared=20)
