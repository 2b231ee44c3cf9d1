from __future__ import annotations

from collections import Counter

import pytest

from workerpool_worker.models import Order, Payment, WelcomeEmail
from workerpool_worker.rush import Rush, pieces

pytestmark = pytest.mark.unit


def test_a_rush_is_what_was_asked_for_with_ids_of_its_own() -> None:
    rush = Rush(name="r", orders=450, payments=50, welcomes=100)
    jobs = rush.jobs()
    assert Counter(type(job) for job in jobs) == {Order: 450, Payment: 50, WelcomeEmail: 100}
    assert len({job.job_id for job in jobs}) == 600
    assert all(job.id.startswith("r-") for job in jobs)
    assert rush.jobs_in_all == 2_000
    # Mixed: not one kind after the other.
    assert len({type(job) for job in jobs[:30]}) == 3


def test_the_same_name_is_the_same_rush_and_another_name_shares_nothing_with_it() -> None:
    first = Rush(name="a", orders=20, payments=5, welcomes=5).jobs()
    assert first == Rush(name="a", orders=20, payments=5, welcomes=5).jobs()
    other = Rush(name="b", orders=20, payments=5, welcomes=5).jobs()
    assert not {job.job_id for job in first} & {job.job_id for job in other}


def test_every_mail_goes_to_somebody_of_its_own() -> None:
    orders = [job for job in Rush(name="a", orders=300).jobs() if isinstance(job, Order)]
    assert len({order.email for order in orders}) == 300


def test_pieces_are_all_that_the_orders_take() -> None:
    jobs = Rush(name="a", orders=10, payments=3).jobs()
    assert sum(pieces(jobs).values()) == sum(
        line.quantity for job in jobs if isinstance(job, Order) for line in job.lines
    )
    assert pieces(Rush(name="a", orders=0, payments=3).jobs()) == {}
