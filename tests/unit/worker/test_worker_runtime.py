from __future__ import annotations

import json
import logging
import time
from types import SimpleNamespace

import pytest

from workerpool_worker.jobs.email.addresses import checked_address
from workerpool_worker.jobs.orders.invoice import render_invoice
from workerpool_worker.messages import headers
from workerpool_worker.models import Order, OrderLine
from workerpool_worker.monitoring import outcomes
from workerpool_worker.monitoring.logs import JsonLines, TextLines
from workerpool_worker.runtime import errors
from workerpool_worker.runtime.errors import MailRefusedError

pytestmark = pytest.mark.unit


def test_a_first_sending_is_stamped_and_a_retry_keeps_the_stamp() -> None:
    first: dict[str, object] = {}
    headers._stamp(headers=first)
    assert first["enqueued_at"] == pytest.approx(time.time(), abs=1)
    again: dict[str, object] = {"enqueued_at": 5.0}
    headers._stamp(headers=again)
    assert again == {"enqueued_at": 5.0}


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
