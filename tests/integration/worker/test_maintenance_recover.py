from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded

from tests.integration.worker.maintenance_world import DAY_S, HOUR_S, World, world
from workerpool_worker import outbox
from workerpool_worker.jobs.maintenance import statuses, whereabouts
from workerpool_worker.jobs.maintenance.messages import Recover
from workerpool_worker.jobs.maintenance.recover import recover, run_steps
from workerpool_worker.jobs.maintenance.statuses import LOST
from workerpool_worker.jobs.orders.process import process_order
from workerpool_worker.jobs.orders.stock import set_stock
from workerpool_worker.jobs.orders.tables import orders
from workerpool_worker.jobs.payments.books import provider_charges
from workerpool_worker.messages import delayed
from workerpool_worker.models import Email, Order, OrderLine, Verify
from workerpool_worker.outbox.table import outbox as outbox_table
from workerpool_worker.store.jobs import begun, ended
from workerpool_worker.store.records import Ending, Try
from workerpool_worker.store.tables import jobs

__all__ = ["world"]

pytestmark = pytest.mark.integration


def run(world: World, **environ: str) -> dict[str, Any]:
    return dict(recover(world.context(**environ), Recover(id="r1")))


def test_nothing_to_do(world: World) -> None:
    assert run(world) == {
        "outcome": "recovered", "relayed": 0, "verified": 0, "orders_without_payment": 0, "statuses_settled": 0,
    }  # fmt: skip


def test_what_lies_in_the_outbox_is_sent(world: World) -> None:
    with world.engine.begin() as connection:
        outbox.add(connection, Email(id="m1", to="a@example.org", subject="s", text="t"))
    assert run(world, JOBS_MODE="off")["relayed"] == 1
    assert world.waiting("email") == ["email-m1"]
    assert world.rows(outbox_table.c.id) == []
    assert run(world)["relayed"] == 0


def charge(world: World, payment_id: str, status: str, *, created_ago_s: float, updated_ago_s: float) -> None:
    row = {"payment_id": payment_id, "provider": "sandbox", "status": status, "amount_minor": 5, "currency": "EUR"}
    times = {"created_at": world.now_s - created_ago_s, "updated_at": world.now_s - updated_ago_s}
    world.execute(provider_charges.insert().values(customer="Ada", **row, **times))


def test_charges_without_an_answer_are_verified(world: World) -> None:
    charge(world, "young", "pending", created_ago_s=60, updated_ago_s=60)
    charge(world, "lost", "asked", created_ago_s=400, updated_ago_s=400)
    charge(world, "pending", "pending", created_ago_s=700, updated_ago_s=400)
    charge(world, "settled", "succeeded", created_ago_s=DAY_S, updated_ago_s=DAY_S)
    # Looked at a moment ago, as far as its age goes; and one nobody looked at for an hour.
    charge(world, "rested", "pending", created_ago_s=2 * HOUR_S, updated_ago_s=0.5 * HOUR_S)
    charge(world, "old", "pending", created_ago_s=20 * DAY_S, updated_ago_s=1.1 * HOUR_S)
    # The provider never heard of it: it is not asked for ever.
    charge(world, "never", "asked", created_ago_s=2 * DAY_S, updated_ago_s=2 * DAY_S)
    assert run(world)["verified"] == 3
    assert sorted(job.id for job in world.published if isinstance(job, Verify)) == ["lost", "old", "pending"]


@pytest.fixture
def order(world: World) -> Order:
    """An order whose payment was sent, twenty minutes ago."""
    set_stock(world.engine, "tea", 10)
    made = Order(id="o1", customer="Ada", email="ada@example.org", lines=(OrderLine(sku="tea", quantity=1),))
    process_order(world.context("order-o1"), made)
    world.published.clear()
    world.execute(orders.update().values(updated_at=world.now_s - 1200))
    return made


def test_an_order_whose_payment_is_on_its_way_is_left_alone(world: World, order: Order) -> None:
    world.client.lpush("payment", world.message("payment-o1", queue="payment", task="payment.process"))
    assert run(world)["orders_without_payment"] == 0
    world.client.delete("payment")
    world.bury("payment-o1", queue="payment")
    assert run(world)["orders_without_payment"] == 0


def test_an_order_whose_payment_is_nowhere_is_told_of_and_sent_again_by_its_id(
    world: World, order: Order, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "workerpool_worker.maintenance"):
        assert run(world)["orders_without_payment"] == 1
    (record,) = caplog.records
    assert "send these orders again under their ids" in record.getMessage()
    assert record.fields == {"orders": ["o1"]}  # type: ignore[attr-defined]
    # What the line says to do helps, and is safe.
    process_order(world.context("order-o1"), order)
    assert sorted(job.job_id for job in world.published) == ["email-order-confirmation-o1", "payment-o1"]
    assert world.rows(orders.c.id) == [("o1",)]


def test_an_order_that_is_young_or_asked_for_is_no_question(world: World, order: Order) -> None:
    world.execute(orders.update().values(updated_at=world.now_s))
    assert run(world)["orders_without_payment"] == 0
    world.execute(orders.update().values(updated_at=world.now_s - 1200))
    charge(world, "o1", "pending", created_ago_s=10, updated_ago_s=10)
    assert run(world)["orders_without_payment"] == 0


def test_an_order_whose_payment_was_begun_without_our_books_is_no_question(world: World, order: Order) -> None:
    # As by a worker from before there were books of charges.
    with world.context().effect("payment:o1", {}) as claimed:
        claimed.done({"outcome": "succeeded"})
    assert run(world)["orders_without_payment"] == 0


def under_way(world: World, job_id: str, *, delayed_job: bool = False) -> Try:
    sent_s = world.now_s - 2 * HOUR_S
    this = Try(
        job_id=job_id, task="email.send", queue="email", attempt=1, enqueued_at=sent_s, started_at=sent_s + 1,
        worker="w1",
    )  # fmt: skip
    begun(world.engine, this)
    if delayed_job:
        ended(world.engine, this, Ending(state="delayed", at=sent_s + 2, due_at=sent_s + 60))
    return this


def states(world: World) -> dict[str, tuple[str, str | None]]:
    return {row[0]: (row[1], row[2]) for row in world.rows(jobs.c.id, jobs.c.state, jobs.c.error_class)}


def test_jobs_that_are_nowhere_and_those_in_the_dead_letters_are_settled(world: World) -> None:
    for name in ("lost", "queued", "held", "later", "dead"):
        under_way(world, name, delayed_job=name == "later")
    under_way(world, "lost-later", delayed_job=True)
    world.client.lpush("email", world.message("queued"))
    held = json.dumps([json.loads(world.message("held")), "", "email"])
    world.client.hset("workerpool:default:shop:unacked", "tag", held)
    delayed.add(
        world.client, "email", tag="t", list_key="email", message=world.message("later"), due_s=world.now_s + 60
    )
    world.bury("dead")
    assert run(world)["statuses_settled"] == 3
    assert states(world) == {
        "lost": ("failed", LOST),
        "lost-later": ("failed", LOST),
        "queued": ("active", None),
        "held": ("active", None),
        "later": ("delayed", None),
        "dead": ("failed", "MailRefusedError"),
    }
    assert run(world)["statuses_settled"] == 0


def test_a_job_that_may_still_run_is_left_alone(world: World) -> None:
    under_way(world, "long")
    assert run(world, WORKERPOOL_HARD_TIME_LIMIT_SECONDS="36000")["statuses_settled"] == 0
    assert run(world, WORKERPOOL_JOB_STATUS="off")["statuses_settled"] == 0


def test_a_job_that_comes_back_after_all_has_the_last_word(world: World) -> None:
    this = under_way(world, "silent")
    assert run(world)["statuses_settled"] == 1
    ended(world.engine, this, Ending(state="completed", at=world.now_s + 5, result={"outcome": "sent"}))
    assert states(world)["silent"][0] == "completed"
    assert run(world)["statuses_settled"] == 0


def test_a_step_that_fails_does_not_keep_the_others_from_theirs(world: World, caplog: pytest.LogCaptureFixture) -> None:
    under_way(world, "lost")
    with world.engine.begin() as connection:
        provider_charges.drop(connection)
    with caplog.at_level(logging.ERROR, "workerpool_worker.maintenance"):
        found = run(world)
    assert found["outcome"] == "partly"
    assert found["statuses_settled"] == 1
    assert set(found["errors"]) == {"payments", "orders"}
    assert [record.getMessage() for record in caplog.records] == [
        "maintenance: payments failed", "maintenance: orders failed",
    ]  # fmt: skip


def test_a_broker_that_is_away_fails_the_steps_that_need_it(world: World) -> None:
    charge(world, "lost", "asked", created_ago_s=400, updated_ago_s=400)
    under_way(world, "lost")
    with world.engine.begin() as connection:
        outbox.add(connection, Email(id="m1", to="a@example.org", subject="s", text="t"))
    found = run(world, WORKERPOOL_BROKER_URL="redis://127.0.0.1:9/0")
    assert set(found["errors"]) == {"outbox", "statuses"}
    assert found["verified"] == 1
    assert states(world)["lost"] == ("active", None)
    assert len(world.rows(outbox_table.c.id)) == 1


def test_the_time_limit_ends_it(world: World) -> None:
    def late(*_: object) -> dict[str, int]:
        raise SoftTimeLimitExceeded

    with pytest.raises(SoftTimeLimitExceeded):
        run_steps(world.context(), (("late", late),), done="recovered")


def test_nothing_is_concluded_where_there_is_too_much_to_be_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    under_way(world, "lost")
    for number in range(30):
        world.client.rpush("email", world.message(f"other-{number}"))
    monkeypatch.setattr("workerpool_worker.jobs.maintenance.whereabouts.MOST", 20)
    monkeypatch.setattr("workerpool_worker.jobs.maintenance.whereabouts._PAGE", 10)
    assert run(world)["statuses_settled"] == 0
    monkeypatch.undo()
    assert run(world)["statuses_settled"] == 1


@pytest.mark.parametrize("list_key", ["email\x06\x169", "email", "payment"])
def test_a_message_is_found_in_every_list(world: World, list_key: str) -> None:
    under_way(world, "late")
    world.client.lpush(list_key, world.message("late"))
    assert run(world, WORKERPOOL_QUEUES="maintenance")["statuses_settled"] == 0
    world.client.delete(list_key)
    assert run(world, WORKERPOOL_QUEUES="maintenance")["statuses_settled"] == 1


def test_a_message_that_moves_while_it_is_looked_for_is_not_lost(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    under_way(world, "moving")
    message = world.message("moving")
    world.client.hset("workerpool:default:shop:unacked", "tag", json.dumps([json.loads(message), "", "email"]))
    hashes = whereabouts._hash

    def restored(client: Any, name: Any) -> Any:
        # Its worker died: it goes back to the list, which was read a moment ago.
        if client.hdel("workerpool:default:shop:unacked", "tag"):
            client.lpush("email", message)
        return hashes(client, name)

    monkeypatch.setattr(whereabouts, "_hash", restored)
    assert run(world)["statuses_settled"] == 0


def test_an_id_that_json_writes_in_another_way_is_never_taken_for_lost(world: World) -> None:
    under_way(world, "größe")
    under_way(world, 'a "job"')
    world.client.lpush("email", world.message("größe"), world.message('a "job"'))
    assert run(world)["statuses_settled"] == 0


def test_a_job_in_the_outbox_is_not_lost(world: World) -> None:
    under_way(world, "email-m1")
    with world.engine.begin() as connection:
        outbox.add(connection, Email(id="m1", to="a@example.org", subject="s", text="t"), relay_after_s=600)
    assert run(world)["statuses_settled"] == 0


def test_a_letter_of_an_earlier_sending_says_nothing_of_this_one(world: World) -> None:
    under_way(world, "again")
    world.bury("again", died_at=world.now_s - 10 * DAY_S)
    assert run(world)["statuses_settled"] == 1
    assert states(world) == {"again": ("failed", LOST)}


def test_who_says_something_meanwhile_is_believed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    this = under_way(world, "late")

    def look(*args: Any, **more: Any) -> Any:
        found = whereabouts.look_for(*args, **more)
        later = Ending(state="delayed", at=world.now_s, due_at=world.now_s + 600)
        ended(world.engine, this, later)
        return found

    monkeypatch.setattr(statuses, "look_for", look)
    assert run(world)["statuses_settled"] == 0
    assert states(world) == {"late": ("delayed", None)}
