"""What a job says on its way, and what is refused before anything is sent."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest

from workerpool_worker.models import Payment
from workerpool_worker.sending.outgoing import outgoing

pytestmark = pytest.mark.unit
PAYMENT = Payment(id="p1", amount_minor=500)


def test_a_job_is_its_own_correlation_unless_it_belongs_to_something() -> None:
    out = outgoing(PAYMENT)
    assert (out.job_id, out.correlation_id) == ("payment-p1", "payment-p1")
    assert (out.task, out.queue, out.kwargs["amount_minor"]) == ("payment.process", "payment", 500)
    assert (out.due_at_s, out.priority, out.asked_at_s) == (None, None, None)
    assert outgoing(PAYMENT, job_id="mine").correlation_id == "mine"
    assert outgoing(PAYMENT, correlation_id="request-7").correlation_id == "request-7"


def test_a_time_is_kept_whatever_its_zone() -> None:
    rome = datetime(2026, 12, 1, 8, tzinfo=timezone(timedelta(hours=1)))
    assert outgoing(PAYMENT, due_at=rome).due_at_s == datetime(2026, 12, 1, 7, tzinfo=UTC).timestamp()


def test_a_delay_counts_from_now() -> None:
    before = time.time()
    due_at_s = outgoing(PAYMENT, delay_s=90).due_at_s
    assert due_at_s is not None
    assert before + 90 <= due_at_s <= time.time() + 90


@pytest.mark.parametrize("delay_s", [math.inf, -math.inf, math.nan, 1e15])
def test_a_delay_that_is_no_time_is_refused(delay_s: float) -> None:
    with pytest.raises(ValueError, match="delay_s must be a number of seconds"):
        outgoing(PAYMENT, delay_s=delay_s)


def test_a_time_needs_a_zone_and_there_is_one_time_only() -> None:
    with pytest.raises(ValueError, match="due_at needs a time zone"):
        outgoing(PAYMENT, due_at=datetime(2026, 12, 1, 8))  # noqa: DTZ001 - the mistake itself
    with pytest.raises(ValueError, match="due_at or delay_s, not both"):
        outgoing(PAYMENT, due_at=datetime.now(UTC), delay_s=1)


@pytest.mark.parametrize("priority", [-1, 10])
def test_a_priority_is_from_0_to_9(priority: int) -> None:
    with pytest.raises(ValueError, match=r"priority must be 0 \(first\) to 9 \(last\)"):
        outgoing(PAYMENT, priority=priority)
