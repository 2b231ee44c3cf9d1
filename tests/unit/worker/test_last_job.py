"""When a worker says out of turn that it is idle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from celery.worker import state

from workerpool_worker.parent.heart import Heart

pytestmark = pytest.mark.unit


class Timer:
    """A worker's timer: the test lets the time pass."""

    def __init__(self) -> None:
        self.calls: dict[int, tuple[float, Callable[..., None], tuple[object, ...]]] = {}
        self._number = 0

    def call_repeatedly(self, interval: float, call: Callable[..., None], arguments: tuple[object, ...] = ()) -> int:
        self._number += 1
        self.calls[self._number] = (interval, call, arguments)
        return self._number

    def cancel(self, number: int) -> None:
        del self.calls[number]

    def between_heartbeats(self) -> None:
        """Make all calls that are due more often than a heartbeat."""
        for interval, call, arguments in tuple(self.calls.values()):
            if interval < 2.0:
                call(*arguments)


class Eventer:
    def __init__(self) -> None:
        self.on_enabled: set[object] = set()
        self.on_disabled: set[object] = set()
        self.buffer_while_offline = self.enabled = True
        self.active: list[int] = []

    def send(self, event: str, *, active: int, **_: Any) -> None:
        if event == "worker-heartbeat":
            self.active.append(active)


class Job:
    """What Celery keeps of a job; it is held weakly."""

    id = "4711"
    name = "email.send"


class World:
    def __init__(self) -> None:
        self.timer, self.eventer, self.takes_jobs = Timer(), Eventer(), True
        self.heart = Heart(self.timer, self.eventer, None, takes_jobs=lambda: self.takes_jobs)


@pytest.fixture
def world() -> World:
    made = World()
    made.heart.start()
    return made


@pytest.mark.parametrize("begun", [True, False])
def test_the_end_of_the_last_job_is_told_once_by_a_worker_that_takes_no_more(world: World, *, begun: bool) -> None:
    job: Any = Job()
    state.task_reserved(job)
    if begun:
        state.task_accepted(job)
    world.takes_jobs = False
    world.timer.between_heartbeats()
    assert world.eventer.active == []
    state.task_ready(job)
    for _ in range(3):
        world.timer.between_heartbeats()
    assert world.eventer.active == [0]


def test_one_of_two_jobs_is_not_the_last(world: World) -> None:
    one, two = Job(), Job()
    two.id = "4712"
    jobs: tuple[Any, Any] = (one, two)
    for job in jobs:
        state.task_reserved(job)
    world.takes_jobs = False
    world.timer.between_heartbeats()
    state.task_ready(jobs[0])
    world.timer.between_heartbeats()
    assert world.eventer.active == []
    state.task_ready(jobs[1])
    world.timer.between_heartbeats()
    assert world.eventer.active == [0]


def test_a_worker_that_takes_jobs_says_it_in_turn(world: World) -> None:
    job: Any = Job()
    state.task_reserved(job)
    world.timer.between_heartbeats()
    state.task_ready(job)
    world.timer.between_heartbeats()
    assert world.eventer.active == []


def test_nothing_is_left_of_it_after_the_end(world: World) -> None:
    world.heart.stop()
    assert not world.timer.calls
    world.heart.start()  # after a reconnect
    assert len(world.timer.calls) == 2
