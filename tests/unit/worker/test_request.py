"""How the parent settles a job whose child was ended. What takes real children is in tests/integration/worker."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from billiard.exceptions import Terminated
from celery.worker import state

from workerpool_worker.parent.request import PoolRequest

pytestmark = pytest.mark.unit


class Watched(PoolRequest):
    """A request whose acknowledgement and endings are noted."""

    def __init__(self, *, cancelled: bool) -> None:
        self.told: list[str] = []
        self.id = "order-1"
        self.acknowledged = False
        self._already_cancelled, self._already_revoked = cancelled, False
        endings = SimpleNamespace(give_back=lambda _payload: self.told.append("given back"))
        raw = {"properties": {"delivery_info": {"routing_key": "order"}}}
        self._message = SimpleNamespace(_raw=raw, channel=SimpleNamespace(endings=endings))
        self._request_dict = {"correlation_id": "order-1"}
        self._on_ack = lambda *_: self.told.append("acknowledged")

    name = "order.process"


def ended(raised: BaseException) -> Any:
    return SimpleNamespace(exception=raised)


@pytest.mark.parametrize("cancelled", [True, False], ids=["its own cancelling", "meant for another job"])
def test_a_job_whose_child_was_ended_is_never_taken_for_done(cancelled: bool) -> None:
    """Celery acknowledges what it did not mean to cancel: the job that was just handed to that child would be lost."""
    request = Watched(cancelled=cancelled)
    request.on_failure(ended(Terminated(15)))
    assert request.told == ["given back"]
    request.on_failure(ended(Terminated(15)))
    request.acknowledge()
    assert request.told == ["given back"]


def test_what_somebody_revoked_is_left_to_celery(monkeypatch: pytest.MonkeyPatch) -> None:
    request = Watched(cancelled=True)
    monkeypatch.setattr(state, "revoked", {"order-1"})
    request.on_failure(ended(Terminated(15)))
    assert request.told == []
