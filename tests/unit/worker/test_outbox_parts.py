"""The outbox without a database: the statement for other drivers, and how long a relay waits."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from workerpool_worker.models import Payment
from workerpool_worker.outbox import SQL, insert_statement
from workerpool_worker.outbox.process import LONGEST_WAIT_S, wait_s
from workerpool_worker.outbox.relay import Relay
from workerpool_worker.producer import Producer
from workerpool_worker.sending.errors import NotQueuedModeError

pytestmark = pytest.mark.unit
PAYMENT = Payment(id="p1", amount_minor=500, customer="Zoë")


def test_the_statement_of_each_style_has_the_same_values_in_the_same_order() -> None:
    due_at = datetime(2026, 12, 1, 7, tzinfo=UTC)
    sql, values = insert_statement(PAYMENT, due_at=due_at, priority=3, correlation_id="request-7")
    assert sql == SQL
    assert ":job_id, :task, :queue, :kwargs" in sql
    assert json.loads(values["kwargs"])["customer"] == "Zoë"
    assert (values["due_at"], values["priority"], values["correlation_id"]) == (due_at.timestamp(), 3, "request-7")
    columns = sql.partition("(")[2].partition(")")[0].split(", ")
    for style, mark in (("qmark", "?"), ("format", "%s")):
        sql, ordered = insert_statement(
            PAYMENT, style=style, due_at=due_at, priority=3, correlation_id="request-7"  # type: ignore[arg-type]
        )  # fmt: skip
        assert sql.count(mark) == len(columns) == len(ordered)
        at = dict(zip(columns, ordered, strict=True))
        assert at | {"created_at": 0} == values | {"created_at": 0}
    assert "%(job_id)s" in insert_statement(PAYMENT, style="pyformat")[0]


def test_a_style_that_no_driver_has_is_refused() -> None:
    wrong: Any = "numeric"
    with pytest.raises(ValueError, match="style must be one of named, pyformat, qmark, format"):
        insert_statement(PAYMENT, style=wrong)


def test_the_wait_doubles_up_to_the_longest_and_is_spread() -> None:
    assert [wait_s(failures, 0.5, 1.0) for failures in (1, 2, 3, 4, 50)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert wait_s(1, 0.5, 0.0) == 0.5
    assert wait_s(10_000, 60.0, 1.0) == LONGEST_WAIT_S


@pytest.mark.parametrize("mode", ["inline", "off"])
def test_a_relay_takes_only_a_producer_that_puts_jobs_into_redis(mode: Any) -> None:
    engine: Any = object()
    with Producer("redis://127.0.0.1:1/0", mode=mode) as producer, pytest.raises(NotQueuedModeError, match="JOBS_MODE"):
        Relay(engine, producer)
