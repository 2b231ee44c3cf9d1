"""The payment jobs on a provider over HTTP: books, orders, receipts, and what pending does to them."""

from __future__ import annotations

import time

import pytest

from tests.support.providers import fake_stripe
from tests.support.providers.payment_shop import Shop, shop
from workerpool_worker.jobs.orders.tables import orders
from workerpool_worker.jobs.payments.books import provider_charges, provider_refunds, unsettled
from workerpool_worker.jobs.payments.provider import Charge
from workerpool_worker.jobs.payments.stripe import StripeProvider
from workerpool_worker.models import Payment, Refund
from workerpool_worker.runtime.errors import PermanentError, ProviderTimeoutError, TransientError

pytestmark = pytest.mark.integration

INTENTS = "/v1/payment_intents"
CONFIRM = "tok_threeDSecureRequired"
__all__ = ["shop"]


def test_a_charge_is_in_our_books_with_the_providers_id(shop: Shop) -> None:
    payment = shop.order()
    assert shop.pay(payment) == "succeeded"
    assert shop.state() == ("paid", 0)
    assert shop.receipts() == ["email-receipt-o1"]
    names = ("payment_id", "provider", "provider_id", "status", "amount_minor", "currency", "order_id")
    assert shop.rows(provider_charges, *names) == [("o1", "stripe", "pi_0001", "succeeded", 1_220, "EUR", "o1")]
    assert unsettled(shop.engine) == []


def test_a_try_that_died_before_its_commit_charges_nothing_more(shop: Shop) -> None:
    payment = shop.order()
    shop.stripe.web.fail_next("lost", "POST", INTENTS)
    with pytest.raises(ProviderTimeoutError):
        shop.pay(payment)
    assert (shop.state(), len(shop.stripe.intents)) == (("reserved", 0), 1)
    assert unsettled(shop.engine) == ["o1"]
    with pytest.raises(TransientError, match="no answer yet"):
        shop.refund(Refund(id="r1", payment_id="o1"))
    assert shop.pay(payment) == "succeeded"
    assert (shop.state(), len(shop.stripe.intents)) == (("paid", 0), 1)
    assert shop.receipts() == ["email-receipt-o1"]


def test_a_webhook_may_be_faster_than_our_commit(shop: Shop) -> None:
    payment = shop.order()
    shop.stripe.web.fail_next("lost", "POST", INTENTS)
    with pytest.raises(ProviderTimeoutError):
        shop.pay(payment)
    assert shop.verify() == "succeeded"
    assert shop.state() == ("paid", 0)
    assert shop.pay(payment) == "succeeded"
    assert shop.receipts() == ["email-receipt-o1"]


def test_a_declined_card_gives_the_stock_back_once(shop: Shop) -> None:
    payment = shop.order("tok_chargeDeclinedInsufficientFunds")
    assert shop.tea() == 8
    for _ in range(2):
        assert shop.pay(payment) == "declined"
        assert shop.verify() == "declined"
    assert (shop.state(), shop.tea(), shop.receipts()) == (("declined", 0), 10, [])


def test_pending_keeps_the_order_reserved_until_the_customer_confirms(shop: Shop) -> None:
    payment = shop.order(CONFIRM)
    for _ in range(2):
        assert shop.pay(payment) == "pending"
        assert shop.verify() == "pending"
    assert (shop.state(), shop.tea(), shop.receipts()) == (("reserved", 0), 8, [])
    assert unsettled(shop.engine) == ["o1"]
    shop.stripe.confirm("o1")
    assert shop.verify() == "succeeded"
    assert (shop.state(), shop.tea(), shop.receipts()) == (("paid", 0), 8, ["email-receipt-o1"])
    # The job that asked, delivered again, says what became of it.
    assert shop.pay(payment) == "succeeded"
    assert unsettled(shop.engine) == []


def test_a_confirmation_quicker_than_our_commit_is_not_undone(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    payment = shop.order(CONFIRM)
    charge = StripeProvider.charge

    def then_confirmed(provider: StripeProvider, **what: object) -> Charge:
        answer = charge(provider, **what)  # type: ignore[arg-type]
        shop.stripe.confirm("o1")
        assert shop.verify() == "succeeded"
        return answer

    monkeypatch.setattr(StripeProvider, "charge", then_confirmed)
    assert shop.pay(payment) == "pending"
    assert shop.rows(provider_charges, "status") == [("succeeded",)]
    assert (shop.state(), shop.receipts()) == (("paid", 0), ["email-receipt-o1"])


def test_a_customer_who_fails_at_the_bank_is_declined(shop: Shop) -> None:
    shop.pay(shop.order(CONFIRM))
    shop.stripe.confirm("o1", "requires_payment_method")
    assert shop.verify() == "declined"
    assert (shop.state(), shop.tea()) == (("declined", 0), 10)


def test_a_customer_who_never_comes_is_given_up(shop: Shop) -> None:
    shop.pay(shop.order(CONFIRM))
    assert shop.verify() == "pending"
    shop.long_ago()
    assert shop.verify() == "declined"
    assert (shop.state(), shop.tea()) == (("declined", 0), 10)
    assert shop.stripe.intents["pi_0001"]["status"] == "canceled"


def test_paystack_gives_up_and_gives_late_money_back(shop: Shop) -> None:
    payment = shop.order("AUTH_confirm").model_copy(update={"currency": "NGN"})
    assert shop.pay(payment, PAYMENT_PROVIDER="paystack") == "pending"
    where = shop.rows(provider_charges, "provider", "action_url")
    assert where == [("paystack", "https://checkout.paystack.com/resume/0744ub5o065nwyz")]
    shop.long_ago()
    assert shop.verify() == "declined"
    assert (shop.state(), shop.tea()) == (("declined", 0), 10)
    shop.paystack.confirm("o1")
    assert shop.verify() == "succeeded"
    assert (shop.state(), shop.tea()) == (("declined", 0), 10)
    (late,) = {job.id: job for job in shop.published if isinstance(job, Refund)}.values()
    assert (late.id, late.payment_id, late.amount_minor) == ("late-o1", "o1", None)
    shop.refund(late)
    assert (shop.state(), len(shop.paystack.refunds)) == (("declined", 1_220), 1)
    shop.published.clear()
    shop.verify()
    assert not [job for job in shop.published if isinstance(job, Refund)]


def test_a_payment_stays_with_its_provider_when_the_settings_change(shop: Shop) -> None:
    payment = shop.order()
    shop.stripe.web.fail_next("lost", "POST", INTENTS)
    with pytest.raises(ProviderTimeoutError):
        shop.pay(payment)
    assert shop.pay(payment, PAYMENT_PROVIDER="paystack") == "succeeded"
    assert shop.refund(Refund(id="r1", payment_id="o1", amount_minor=20), PAYMENT_PROVIDER="sandbox") == "succeeded"
    assert (len(shop.stripe.intents), len(shop.stripe.refunds), shop.paystack.web.asked) == (1, 1, [])
    with pytest.raises(TransientError, match="STRIPE_API_KEY is not set"):
        shop.refund(Refund(id="r2", payment_id="o1"), PAYMENT_PROVIDER="sandbox", STRIPE_API_KEY="")


def test_refunds_follow_the_books_down_too(shop: Shop) -> None:
    shop.pay(shop.order())
    for _ in range(2):
        assert shop.refund(Refund(id="r1", payment_id="o1", amount_minor=220)) == "succeeded"
        assert shop.state() == ("partly_refunded", 220)
    assert shop.refund(Refund(id="r2", payment_id="o1")) == "succeeded"
    assert shop.state() == ("refunded", 1_220)
    assert shop.refund(Refund(id="r3", payment_id="o1")) == "refused"
    shop.stripe.break_refund("re_0002")
    shop.verify()
    assert shop.state() == ("partly_refunded", 220)
    shop.stripe.break_refund("re_0001")
    shop.verify()
    assert shop.state() == ("paid", 0)
    names = ("refund_id", "provider", "provider_id", "status", "amount_minor", "asked_at")
    assert sorted(shop.rows(provider_refunds, *names), key=str) == [
        ("r1", "stripe", "re_0001", "succeeded", 220, None),
        ("r2", "stripe", "re_0002", "succeeded", 1_000, None),
        ("r3", "stripe", None, "refused", 0, None),
    ]


def test_paystack_is_asked_for_a_refund_once_whatever_gets_lost(shop: Shop) -> None:
    payment = shop.order("AUTH_good").model_copy(update={"currency": "NGN"})
    shop.pay(payment, PAYMENT_PROVIDER="paystack")
    refund = Refund(id="r1", payment_id="o1", amount_minor=220)
    # Too often, said before anything was done: the next try need not wait.
    shop.paystack.web.fail_next("instead", "POST", "/refund", 429, None)
    with pytest.raises(TransientError):
        shop.refund(refund)
    assert shop.rows(provider_refunds, "asked_at") == [(None,)]
    shop.paystack.web.fail_next("lost", "POST", "/refund")
    with pytest.raises(ProviderTimeoutError):
        shop.refund(refund)
    ((asked_at,),) = shop.rows(provider_refunds, "asked_at")
    assert asked_at is not None
    shop.paystack.listing = False
    for _ in range(3):
        with pytest.raises(TransientError, match="not asked again") as waits:
            shop.refund(refund)
        assert waits.value.retry_after_s is not None
        assert 280 < waits.value.retry_after_s <= 300
    # Waiting is no asking: the time stays, or the wait would never end.
    assert shop.rows(provider_refunds, "asked_at") == [(asked_at,)]
    shop.paystack.listing = True
    assert shop.refund(refund) == "pending"
    assert len(shop.paystack.refunds) == 1
    assert shop.state() == ("partly_refunded", 220)


def test_a_payment_of_no_order_leaves_the_order_of_its_name_alone(shop: Shop) -> None:
    shop.order()
    assert shop.pay(Payment(id="o1", amount_minor=5)) == "succeeded"
    assert shop.verify() == "succeeded"
    shop.refund(Refund(id="r1", payment_id="o1"))
    assert shop.state() == ("reserved", 0)


def test_a_second_payment_of_an_order_is_the_orders(shop: Shop) -> None:
    payment = shop.order(CONFIRM).model_copy(update={"id": "try-2"})
    assert shop.pay(payment) == "pending"
    shop.stripe.confirm("try-2")
    assert shop.verify("try-2") == "succeeded"
    assert shop.state() == ("paid", 0)
    assert shop.refund(Refund(id="r1", payment_id="try-2")) == "succeeded"
    assert shop.state() == ("refunded", 1_220)


def test_a_request_refused_for_good_is_no_open_question(shop: Shop) -> None:
    payment = shop.order("tok_nonsense")
    with pytest.raises(PermanentError):
        shop.pay(payment)
    ((status, reason),) = shop.rows(provider_charges, "status", "reason")
    assert (status, "No such token: '***'" in str(reason)) == ("failed", True)
    assert unsettled(shop.engine) == []
    assert shop.refund(Refund(id="r1", payment_id="o1")) == "refused"


def test_orders_that_keep_changing_are_tried_again(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.pay(shop.order())
    shop.refund(Refund(id="r1", payment_id="o1", amount_minor=100))
    answer = shop.stripe.web._answer
    busy, asked_before = [3], len(shop.stripe.web.asked)

    def meanwhile(asked: object) -> object:
        if busy[0]:
            busy[0] -= 1
            with shop.engine.begin() as connection:
                # There and back again: what was seen is there, and yet somebody wrote in between.
                connection.execute(orders.update().values(updated_at=time.time()))
        return answer(asked)  # type: ignore[arg-type]

    monkeypatch.setattr(shop.stripe.web, "_answer", meanwhile)
    assert shop.verify() == "succeeded"
    assert shop.state() == ("partly_refunded", 100)
    assert len(shop.stripe.web.asked) - asked_before == 4
    busy[0] = 100
    with pytest.raises(TransientError, match="kept changing"):
        shop.verify()


def test_no_secret_and_no_token_is_kept(shop: Shop) -> None:
    shop.pay(shop.order(CONFIRM))
    shop.refund(Refund(id="r1", payment_id="nobody"))
    kept = repr([shop.rows(table, *table.c.keys()) for table in (provider_charges, provider_refunds)])
    assert fake_stripe.KEY not in kept
    assert "tok_" not in kept
