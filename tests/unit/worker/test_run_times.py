"""What a worker adds up of its jobs' runs, and how its heartbeat tells it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from celery.worker.consumer import Consumer

from workerpool_worker.monitoring import outcomes, run_times
from workerpool_worker.monitoring.run_times import RunTimes
from workerpool_worker.parent.consumer import PoolConsumer
from workerpool_worker.parent.heart import Heart

pytestmark = pytest.mark.unit

TIMES = {"job_count", "job_seconds", "job_seconds_squared"}
CELERYS = {"freq", "active", "processed", "loadavg", "sw_ident", "sw_ver", "sw_sys"}


class Eventer:
    """Celery's event dispatcher, as far as a heart knows it."""

    def __init__(self, *, away: bool = False) -> None:
        self.on_enabled: set[object] = set()
        self.on_disabled: set[object] = set()
        self.buffer_while_offline, self.enabled, self.away = True, True, away
        self.sent: list[tuple[str, bool, bool, dict[str, Any]]] = []

    def send(self, event: str, *, retry: bool, **fields: Any) -> None:
        self.sent.append((event, retry, self.buffer_while_offline, fields))
        if self.away:
            raise ConnectionError


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch) -> RunTimes:
    fresh = RunTimes()
    monkeypatch.setattr(run_times, "OURS", fresh)
    monkeypatch.setattr("workerpool_worker.parent.heart.OURS", fresh)
    return fresh


def test_only_what_ran_is_added(ours: RunTimes) -> None:
    message = SimpleNamespace(_raw={"properties": {"delivery_info": {"routing_key": "email"}}})
    request = SimpleNamespace(message=message, name="email.send", request_dict={}, time_start=None)
    outcomes.job_finished(request, "retried", seconds=3.0)
    outcomes.job_finished(request, "lost", seconds=4.0)
    outcomes.job_finished(request, "dead")
    outcomes.job_finished(request, "completed", seconds=-0.5)  # the clock was set back
    assert ours.fields() == {"job_count": 3, "job_seconds": 7.0, "job_seconds_squared": 25.0}


def test_every_sign_of_life_has_the_times_and_all_that_celery_tells(ours: RunTimes) -> None:
    eventer = Eventer()
    heart = Heart(SimpleNamespace(call_repeatedly=lambda *_: 1, cancel=lambda _: None), eventer, None, takes_jobs=bool)
    heart.start()
    ours.add(2.0)
    heart._send("worker-heartbeat")
    heart.stop()
    assert [one[0] for one in eventer.sent] == ["worker-online", "worker-heartbeat", "worker-offline"]
    assert [one[3]["job_seconds"] for one in eventer.sent] == [0.0, 2.0, 2.0]
    assert all(one[3].keys() == CELERYS | TIMES for one in eventer.sent)


def test_a_heartbeat_that_cannot_be_sent_is_neither_kept_nor_tried_again() -> None:
    eventer = Eventer(away=True)
    with pytest.raises(ConnectionError):
        Heart(None, eventer, None, takes_jobs=bool)._send("worker-heartbeat")
    assert [one[:3] for one in eventer.sent] == [("worker-heartbeat", False, False)]
    assert eventer.buffer_while_offline, "what else is sent is kept"


def test_our_heart_stands_in_celerys_place() -> None:
    celerys, steps = Consumer.Blueprint.default_steps, PoolConsumer.Blueprint.default_steps
    changed = [pair for pair in zip(celerys, steps, strict=True) if pair[0] != pair[1]]
    assert changed == [("celery.worker.consumer.heart:Heart", "workerpool_worker.parent.heart:HeartStep")]
