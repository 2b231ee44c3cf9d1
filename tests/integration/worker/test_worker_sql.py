"""What keeps effects single, on SQLite and on PostgreSQL, under threads that race."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from workerpool_worker.effects import EffectsReader
from workerpool_worker.jobs.orders.invoices import keep_invoice, read_invoice
from workerpool_worker.jobs.orders.process import process_order
from workerpool_worker.jobs.orders.stock import fill_up, read_stock, set_stock
from workerpool_worker.jobs.orders.tables import invoices, stock
from workerpool_worker.jobs.payments.process import process_payment, process_refund, process_verify
from workerpool_worker.jobs.payments.sandbox import SandboxProvider
from workerpool_worker.models import Job, Order, OrderLine, Payment, Refund, Verify
from workerpool_worker.runtime import idempotency
from workerpool_worker.runtime.context import JobContext
from workerpool_worker.runtime.database import create_tables, make_engine
from workerpool_worker.runtime.errors import EffectBusyError, EffectMismatchError
from workerpool_worker.runtime.idempotency import effect, effects, once_in_transaction
from workerpool_worker.settings import load_settings
from workerpool_worker.store.schema import load_tables

pytestmark = pytest.mark.integration

THREADS = 8


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    made: str = request.getfixturevalue("postgres")
    engine = make_engine(made)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    engine.dispose()
    return made


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    made = make_engine(url)
    create_tables(made)
    yield made
    made.dispose()


def context(
    engine: sa.Engine, folder: Path, published: list[Job], job_id: str, *, again: bool = False, **environ: str
) -> JobContext:
    settings = load_settings({"WORKERPOOL_STATE_DIR": str(folder), **environ})
    return JobContext(settings=settings, engine=engine, job_id=job_id, redelivered=again, publish=published.append)


def race(action: Callable[[int], object], times: int = THREADS) -> list[object]:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(action, range(times)))


def test_many_processes_may_create_the_tables_at_once(url: str) -> None:
    def create(_: int) -> None:
        engine = make_engine(url)
        create_tables(engine)
        engine.dispose()

    race(create)


def test_no_oversell_under_concurrency(engine: sa.Engine, tmp_path: Path) -> None:
    set_stock(engine, "tea", 15)
    set_stock(engine, "cup", 100)
    published: list[Job] = []

    def order(number: int) -> object:
        # Articles in both orders: taking them as they come would deadlock PostgreSQL.
        lines = [OrderLine(sku="tea", quantity=1), OrderLine(sku="cup", quantity=1)]
        made = Order(id=f"o{number}", customer="c", email="e@x.y", lines=tuple(lines[:: 1 if number % 2 else -1]))
        return process_order(context(engine, tmp_path, published, f"order-{number}"), made)["outcome"]

    outcomes = race(order, 40)
    assert (outcomes.count("reserved"), outcomes.count("out_of_stock")) == (15, 25)
    assert read_stock(engine) == {"cup": 85, "tea": 0}
    reader = EffectsReader(engine.url.render_as_string(hide_password=False))
    assert reader.orders_by_state() == {"reserved": 15, "out_of_stock": 25}
    assert len(reader.stock_movements()) == 30
    numbers = sorted(str(order.invoice_number) for order in reader.orders() if order.invoice_number)
    assert numbers == [f"INV-{number:06d}" for number in range(1, 16)]
    assert len(reader.invoices()) == 15
    reader.close()


def test_the_same_order_by_many_workers_at_once(engine: sa.Engine, tmp_path: Path) -> None:
    set_stock(engine, "tea", 5)
    order = Order(id="o", customer="c", email="e@x.y", lines=(OrderLine(sku="tea", quantity=2),))
    published: list[Job] = []
    results = race(lambda _: process_order(context(engine, tmp_path, published, "order-o"), order))
    assert [result["repeated"] for result in results].count(False) == 1  # type: ignore[index]
    assert read_stock(engine) == {"tea": 3}
    assert {job.job_id for job in published} == {"payment-o", "email-order-confirmation-o"}
    with engine.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(invoices)).scalar_one() == 1


def test_of_two_that_keep_an_invoice_at_once_one_does(engine: sa.Engine) -> None:
    together = threading.Barrier(THREADS)

    def keep(number: int) -> object:
        def render() -> bytes:
            # Everybody has seen that there is none by now.
            together.wait(20)
            return f"%PDF-{number}".encode()

        return keep_invoice(engine, "o", number="INV-000001", issued_at_s=1.5, render=render)

    kept = race(keep)
    assert kept.count(True) == 1
    assert read_invoice(engine, "o") == f"%PDF-{kept.index(True)}".encode()
    assert read_invoice(engine, "another") is None


def test_a_missing_invoice_is_made_by_the_repeat_and_one_that_is_there_is_left(
    engine: sa.Engine, tmp_path: Path
) -> None:
    set_stock(engine, "tea", 5)
    order = Order(id="o", customer="c", email="e@x.y", lines=(OrderLine(sku="tea", quantity=2),))

    def process() -> bytes | None:
        process_order(context(engine, tmp_path, [], "order-o"), order)
        return read_invoice(engine, "o")

    first = process()
    assert first is not None
    assert not list(tmp_path.rglob("*.pdf"))
    with engine.begin() as connection:
        connection.execute(invoices.delete())
    # As if the worker had died right after the commit of the order.
    assert process() == first
    with engine.begin() as connection:
        connection.execute(invoices.update().values(content=b"%PDF-older"))
    assert process() == b"%PDF-older"


def test_an_invoice_folder_gets_a_copy_of_what_is_kept(engine: sa.Engine, tmp_path: Path) -> None:
    set_stock(engine, "tea", 5)
    order = Order(id="o", customer="c", email="e@x.y", lines=(OrderLine(sku="tea", quantity=2),))
    file = tmp_path / "to" / "people" / "o.pdf"
    made = context(engine, tmp_path, [], "order-o", WORKERPOOL_INVOICE_DIR=str(file.parent))
    process_order(made, order)
    assert file.read_bytes() == read_invoice(engine, "o")
    file.unlink()
    with engine.begin() as connection:
        connection.execute(invoices.update().values(content=b"%PDF-kept"))
    process_order(made, order)
    assert file.read_bytes() == b"%PDF-kept"
    assert [path.name for path in file.parent.iterdir()] == ["o.pdf"]


def test_an_older_database_gets_the_table(url: str, tmp_path: Path) -> None:
    before = make_engine(url)
    load_tables().create_all(before, tables=[stock])
    set_stock(before, "tea", 5)
    before.dispose()
    reader = EffectsReader(before.url.render_as_string(hide_password=False))
    assert reader.invoices() == []
    assert reader.stock() == {"tea": 5}
    reader.close()


def test_a_shelf_is_filled_only_where_it_holds_too_little(engine: sa.Engine) -> None:
    set_stock(engine, "cup", 9)
    set_stock(engine, "tea", 10)
    fill_up(engine, {"cup": 10, "kettle": 1, "pot": 500, "tea": 10}, to=100)
    assert read_stock(engine) == {"cup": 100, "kettle": 100, "pot": 500, "tea": 10}


def test_an_effect_is_claimed_by_one_of_many(engine: sa.Engine) -> None:
    def claim(number: int) -> str:
        try:
            with effect(engine, "k", {}, owner=f"j{number}", redelivered=False, lease_s=60) as claimed:
                return "done" if claimed.already_done else "claimed"
        except EffectBusyError as busy:
            return "busy" if busy.retry_after_s == idempotency.ASK_AGAIN_S else "no time"

    assert sorted(str(outcome) for outcome in race(claim)) == ["busy"] * (THREADS - 1) + ["claimed"]


def test_a_claim_of_a_dead_try_is_taken_over_and_the_dead_may_not_commit(engine: sa.Engine) -> None:
    with effect(engine, "k", {}, owner="j", redelivered=False, lease_s=60) as first:
        with pytest.raises(EffectBusyError), effect(engine, "k", {}, owner="other", redelivered=True, lease_s=60):
            pass
        with effect(engine, "k", {}, owner="j", redelivered=True, lease_s=60) as second:
            assert (first.token, second.token) == (1, 2)
            with pytest.raises(EffectBusyError):
                first.done({"by": "first"})
            second.done({"by": "second"})
    with effect(engine, "k", {}, owner="x", redelivered=False, lease_s=60) as third:
        assert third.result == {"by": "second"}


def test_a_young_claim_is_left_to_a_try_that_may_only_be_slow(engine: sa.Engine) -> None:
    """A worker without a processor for some seconds looks like one that is gone; no mail server drops a double."""
    again = functools.partial(effect, engine, "k", {}, owner="j", redelivered=True, lease_s=60)
    with effect(engine, "k", {}, owner="j", redelivered=False, lease_s=60) as first:
        for takeover_after_s, soonest_s, latest_s in ((30, 15, 15), (12, 5, 12)):
            with pytest.raises(EffectBusyError) as busy, again(takeover_after_s=takeover_after_s):
                pass
            assert busy.value.retry_after_s is not None
            assert soonest_s <= busy.value.retry_after_s <= latest_s
        first.done({"by": "first"})
    with again(takeover_after_s=30) as second:
        assert second.result == {"by": "first"}


def test_a_claim_that_is_no_longer_young_is_taken_over_by_the_same_job(engine: sa.Engine) -> None:
    with effect(engine, "k", {}, owner="j", redelivered=False, lease_s=60):
        before = time.time() - 31
        with engine.begin() as connection:
            connection.execute(effects.update().values(lease_until=before + 60))
        again = effect(engine, "k", {}, owner="j", redelivered=True, lease_s=60, takeover_after_s=30)
        with again as second:
            assert second.token == 2


def test_a_lease_that_is_past_is_anyones(engine: sa.Engine) -> None:
    past = effect(engine, "k", {}, owner="j", redelivered=False, lease_s=-1)
    with past, effect(engine, "k", {}, owner="other", redelivered=False, lease_s=60) as second:
        assert second.token == 2


def test_a_failed_try_gives_its_claim_back(engine: sa.Engine) -> None:
    with pytest.raises(RuntimeError), effect(engine, "k", {}, owner="j", redelivered=False, lease_s=60):
        raise RuntimeError
    with effect(engine, "k", {}, owner="other", redelivered=False, lease_s=60) as second:
        assert second.token == 2


def test_one_key_is_one_request(engine: sa.Engine) -> None:
    once_in_transaction(engine, "k", {"a": 1}, lambda _: {"done": True}, owner="j")
    assert once_in_transaction(engine, "k", {"a": 1}, lambda _: {}, owner="j") == ({"done": True}, False)
    with pytest.raises(EffectMismatchError):
        once_in_transaction(engine, "k", {"a": 2}, lambda _: {}, owner="j")


def test_work_that_fails_leaves_no_trace(engine: sa.Engine) -> None:
    def fail(_: sa.Connection) -> dict[str, object]:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        once_in_transaction(engine, "k", {}, fail, owner="j")
    assert once_in_transaction(engine, "k", {}, lambda _: {"ok": 1}, owner="j") == ({"ok": 1}, True)


def test_a_charge_whose_commit_was_cut_off_is_not_charged_again(engine: sa.Engine, tmp_path: Path) -> None:
    payment = Payment(id="p", amount_minor=500, email="e@x.y")
    with effect(engine, "payment:p", payment.arguments(), owner="payment-p", redelivered=False, lease_s=60):
        # The provider charged, and then the worker died: nothing is committed on our side.
        SandboxProvider(engine=engine).charge(key="p", amount_minor=500, currency="EUR", token="tok_visa")
        published: list[Job] = []
        result = process_payment(context(engine, tmp_path, published, "payment-p", again=True), payment)
    assert result["outcome"] == "succeeded"
    assert [job.job_id for job in published] == ["email-receipt-p"]
    reader = EffectsReader(engine.url.render_as_string(hide_password=False))
    assert [entry.idempotency_key for entry in reader.ledger_entries()] == ["charge:p"]
    reader.close()


def test_racing_refunds_stay_within_the_charge(engine: sa.Engine, tmp_path: Path) -> None:
    SandboxProvider(engine=engine).charge(key="p", amount_minor=1_000, currency="EUR", token="tok_visa")

    def refund(number: int) -> object:
        job = Refund(id=f"r{number}", payment_id="p", amount_minor=300)
        return process_refund(context(engine, tmp_path, [], job.job_id), job)["outcome"]

    outcomes = race(refund)
    assert (outcomes.count("succeeded"), outcomes.count("refused")) == (3, 5)
    record = SandboxProvider(engine=engine).lookup("p")
    assert record is not None
    assert record.refunded_minor == 900


def test_verify_follows_the_providers_books(engine: sa.Engine, tmp_path: Path) -> None:
    set_stock(engine, "tea", 5)
    order = Order(id="o", customer="c", email="e@x.y", lines=(OrderLine(sku="tea", quantity=2),))
    process_order(context(engine, tmp_path, [], "order-o"), order)
    verify = context(engine, tmp_path, [], "verify-o")
    assert process_verify(verify, Verify(id="o")) == {"outcome": "unknown"}
    SandboxProvider(engine=engine).charge(key="o", amount_minor=order.total_minor, currency="EUR", token="tok_declined")
    for _ in range(2):
        assert process_verify(verify, Verify(id="o"))["outcome"] == "declined"
        assert read_stock(engine) == {"tea": 5}


@pytest.mark.parametrize("moment", ["begin", "commit"])
def test_what_has_happened_is_remembered_though_the_database_refuses_at_first(engine: sa.Engine, moment: str) -> None:
    """A mail that went out and is forgotten goes out again."""
    left = 3

    def refuse(_connection: sa.Connection) -> None:
        nonlocal left
        if left:
            left -= 1
            raise sa.exc.OperationalError("COMMIT", None, Exception("the database is away"))

    with effect(engine, "mail:1", {}, owner="j", redelivered=False, lease_s=60) as claimed:
        sa.event.listen(engine, moment, refuse)
        claimed.done({"outcome": "sent"})
    sa.event.remove(engine, moment, refuse)
    assert left == 0
    with effect(engine, "mail:1", {}, owner="j", redelivered=True, lease_s=60) as again:
        assert again.result == {"outcome": "sent"}


def test_a_commit_whose_answer_was_lost_counts_once(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    commit = idempotency.Effect._commit

    def lost(self: idempotency.Effect, result: object, also: object) -> None:
        commit(self, result, also)  # type: ignore[arg-type]
        if len(written) == 1:
            monkeypatch.setattr(idempotency.Effect, "_commit", commit)
            raise sa.exc.OperationalError("COMMIT", None, Exception("the answer got lost"))

    monkeypatch.setattr(idempotency.Effect, "_commit", lost)
    with effect(engine, "charge:1", {}, owner="j", redelivered=False, lease_s=60) as claimed:
        claimed.done({"outcome": "succeeded"}, also=lambda _connection: written.append(1))
    assert written == [1]
    assert claimed.already_done
