"""What the step does with answers and errors; that it is run at all is for the tests with real workers."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from workerpool_worker.parent.schedules import TICK_S, ScheduleStep
from workerpool_worker.schedules import occurrences
from workerpool_worker.schedules.occurrences import Kept
from workerpool_worker.settings import load_settings

pytestmark = pytest.mark.unit


class Timer:
    """Celery's, as far as the step knows it."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, Any, tuple[Any, ...]]] = []

    def call_after(self, seconds: float, function: Any, args: tuple[Any, ...]) -> Any:
        self.calls.append((seconds, function, args))
        return self.calls[-1]

    call_repeatedly = call_after

    def cancel(self, call: Any) -> None:
        self.calls.remove(call)

    def fire(self) -> None:
        _, function, args = self.calls[-1]
        function(*args)


@pytest.fixture
def consumer() -> Any:
    @contextmanager
    def client() -> Any:
        yield SimpleNamespace(time=lambda: (1_000, 0))

    channel = SimpleNamespace(conn_or_acquire=client)
    app = SimpleNamespace(workerpool_settings=load_settings({"WORKERPOOL_POOL": "a", "WORKERPOOL_NAMESPACE": "shop"}))
    return SimpleNamespace(timer=Timer(), task_consumer=SimpleNamespace(channel=channel), app=app)


def test_an_error_ends_nothing_and_is_told(
    consumer: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ConnectionError("gone")

    monkeypatch.setattr(occurrences, "keep", broken)
    step = ScheduleStep(consumer)
    step.start(consumer)
    with caplog.at_level(logging.WARNING, "workerpool_worker.schedules"):
        consumer.timer.fire()
    assert [record.getMessage() for record in caplog.records] == ["schedules: ConnectionError: gone; next try in 15 s"]


def test_it_starts_once_a_process_and_not_at_every_reconnect(consumer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, bool]] = []

    def keep(*_: Any, source: str, starting: bool, **__: Any) -> list[Kept]:
        asked.append((source, starting))
        return []

    monkeypatch.setattr(occurrences, "keep", keep)
    step = ScheduleStep(consumer)
    for _ in range(2):
        step.start(consumer)
        assert [seconds for seconds, *_ in consumer.timer.calls] == [0.5, TICK_S]
        consumer.timer.fire()
        step.stop(consumer)
        assert consumer.timer.calls == []
    assert asked == [("shop/a", True), ("shop/a", False)]


def test_a_first_look_that_failed_is_still_the_first(consumer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def keep(*_: Any, starting: bool, **__: Any) -> list[Kept]:
        asked.append(starting)
        if len(asked) == 1:
            raise ConnectionError
        return []

    monkeypatch.setattr(occurrences, "keep", keep)
    step = ScheduleStep(consumer)
    step.start(consumer)
    for _ in range(3):
        consumer.timer.fire()
    assert asked == [True, True, False]


def test_whose_word_counts_is_told_once(
    consumer: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answers: list[Kept] = []
    monkeypatch.setattr(occurrences, "keep", lambda *_, **__: answers)
    step = ScheduleStep(consumer)
    step.start(consumer)
    other = Kept(name="x", answer="other", whose="shop/b")
    with caplog.at_level(logging.INFO, "workerpool_worker.schedules"):
        for answers[:] in (
            [other],
            [other],
            [Kept(name="x", answer="put")],
            [Kept(name="x", answer="other", whose="")],
        ):
            consumer.timer.fire()
    assert [record.getMessage() for record in caplog.records] == [
        "schedule x: pool shop/b have another definition, which is in force",
        "schedule x: others have another definition, which is in force",
    ]
