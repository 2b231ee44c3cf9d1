from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from workerpool_worker import models
from workerpool_worker.models import Order, OrderLine, Payment, money
from workerpool_worker.registry import JOBS

pytestmark = pytest.mark.unit

QUANTITY = st.integers(1, 1_000)
PRICE = st.integers(0, 10_000_000)
LINES = st.lists(st.builds(OrderLine, sku=st.just("tea"), quantity=QUANTITY, unit_price_minor=PRICE), min_size=1)


@given(lines=LINES, vat=st.integers(0, 10_000))
def test_totals_add_up_to_the_minor_unit(lines: list[OrderLine], vat: int) -> None:
    order = Order(id="o", customer="c", email="e@x.y", lines=tuple(lines), vat_basis_points=vat)
    assert order.total_minor == order.net_minor + order.vat_minor
    # Rounded once, half up: never further than half a unit from the exact value.
    assert -5_000 < order.vat_minor * 10_000 - order.net_minor * vat <= 5_000


@given(lines=LINES)
def test_a_job_survives_the_queue(lines: list[OrderLine]) -> None:
    order = Order(id="o", customer="c", email="e@x.y", lines=tuple(lines))
    assert Order.model_validate(order.arguments()) == order


@pytest.mark.parametrize("bad", ["", "a b", "../etc", ".hidden", "a/b", "a\n", "x" * 129])
def test_a_business_id_is_safe_as_a_file_name(bad: str) -> None:
    with pytest.raises(ValidationError):
        Payment(id=bad, amount_minor=1)


@pytest.mark.parametrize("bad", [1.5, "10", 0, -1, 10**13, True])
def test_money_is_a_whole_number_of_minor_units(bad: object) -> None:
    with pytest.raises(ValidationError):
        Payment.model_validate({"id": "p", "amount_minor": bad})


def test_a_header_cannot_be_smuggled_in() -> None:
    with pytest.raises(ValidationError):
        models.Email(id="m", to="a@b.c\nBcc: all@b.c", subject="s", text="t")
    with pytest.raises(ValidationError):
        models.Email(id="m", to="a@b.c", subject="s\r\nBcc: x", text="t")


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (123_456, "EUR", "1,234.56 EUR"),
        (5, "EUR", "0.05 EUR"),
        (-5, "EUR", "-0.05 EUR"),
        (500, "JPY", "500 JPY"),
        (1_234, "KWD", "1.234 KWD"),
        (500, "XOF", "500 XOF"),
        (1_234, "OMR", "1.234 OMR"),
    ],
)
def test_money_as_people_write_it(amount: int, currency: str, text: str) -> None:
    assert money(amount, currency) == text


def test_every_job_has_a_task_on_the_queue_of_its_name_and_an_id_of_its_own() -> None:
    assert len({spec.message.task for spec in JOBS}) == len(JOBS) == len({spec.message.prefix for spec in JOBS})
    for spec in JOBS:
        family = spec.message.task.partition(".")[0]
        # Jobs of hooks go to the queue of the job they tell of; the one they name is where nobody said so.
        assert spec.message.queue == ("maintenance" if family == "hook" else family)
