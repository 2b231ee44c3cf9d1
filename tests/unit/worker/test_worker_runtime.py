from __future__ import annotations

import json
import logging
import time
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerpool_worker.jobs.email.addresses import checked_address
from workerpool_worker.jobs.orders.invoice import render_invoice
from workerpool_worker.messages import headers
from workerpool_worker.models import Order, OrderLine
from workerpool_worker.runtime import errors, outcomes, process
from workerpool_worker.runtime.errors import MailRefusedError
from workerpool_worker.runtime.logs import JsonLines, TextLines
from workerpool_worker.runtime.retry import Backoff, backoff_of
from workerpool_worker.settings import load_settings

pytestmark = pytest.mark.unit


@given(retries=st.integers(0, 10_000), random=st.floats(0, 1, exclude_max=True))
def test_a_delay_is_jittered_fully_and_never_above_the_cap(retries: int, random: float) -> None:
    delay = Backoff(base_s=0.5, cap_s=30, max_retries=5).delay_s(retries, random)
    assert 0 <= delay <= min(30, 0.5 * 2 ** min(retries, 40))


def test_the_cap_stays_below_the_visibility_timeout() -> None:
    settings = load_settings({"WORKERPOOL_RETRY_CAP_MS": "9000000"})
    assert backoff_of(settings).cap_s < settings.visibility_timeout_seconds


def test_a_first_sending_is_stamped_and_a_retry_keeps_the_stamp() -> None:
    first: dict[str, object] = {}
    headers._stamp(headers=first)
    assert first["enqueued_at"] == pytest.approx(time.time(), abs=1)
    again: dict[str, object] = {"enqueued_at": 5.0, "cut_off": True}
    headers._stamp(headers=again)
    assert again == {"enqueued_at": 5.0}


def test_what_the_main_process_sends_replaces_a_job_whose_child_died(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_main_pid", None)
    assert not process.is_main()
    process.mark_main()
    sent: dict[str, object] = {}
    headers._stamp(headers=sent)
    assert sent["cut_off"] is True


def test_the_error_tree_in_the_docstring_is_the_tree_there_is() -> None:
    drawn = {word for word in (errors.__doc__ or "").split() if word.endswith("Error")}
    there = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert drawn == there


@pytest.mark.parametrize("good", ["a@b.c", "first.last+tag@mail.example.org"])
def test_addresses(good: str) -> None:
    assert checked_address(good) == good


@pytest.mark.parametrize(
    "bad", ["", "a", "a@", "@b.c", "a b@c.d", "A <a@b.c>", "a@b..c", "a@b.c, d@e.f", "ä@b.c", "a@b.c "]
)
def test_what_is_no_address_is_refused_for_good(bad: str) -> None:
    with pytest.raises(MailRefusedError):
        checked_address(bad)


def test_an_invoice_is_the_same_whenever_it_is_written() -> None:
    lines = (OrderLine(sku="tea", quantity=2, description="Grüner Tee — łódź 茶"),)
    order = Order(id="o", customer="Ødegård 北", email="e@x.y", lines=lines)
    first = render_invoice(order, number="INV-1", issued_at_s=1_700_000_000)
    assert first.startswith(b"%PDF-")
    assert first == render_invoice(order, number="INV-1", issued_at_s=1_700_000_000)


def test_a_long_order_takes_more_than_one_page() -> None:
    lines = tuple(OrderLine(sku=f"sku-{number}", quantity=1) for number in range(120))
    order = Order(id="o", customer="c", email="e@x.y", lines=lines)
    assert render_invoice(order, number="INV-1", issued_at_s=0).count(b"/Type /Page\n") >= 3


def test_an_outcome_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    request = SimpleNamespace(
        id="order-1", delivery_info={"routing_key": "order"}, headers={"enqueued_at": time.time() - 5}
    )
    with caplog.at_level(logging.INFO, logger="workerpool_worker.jobs"):
        outcomes.job_ended(request, "order.process", "failed", seconds=2.0, error="E: x", absent=None)
    (record,) = caplog.records
    line = json.loads(JsonLines().format(record))
    assert (line["level"], line["job_id"], line["queue"], line["outcome"]) == ("error", "order-1", "order", "failed")
    assert line["wait_seconds"] == pytest.approx(3, abs=0.5)
    assert "absent" not in line
    assert "\n" not in TextLines().format(record)
