"""Workers killed between a provider's deed and its answer: the money moves once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.worker.bench import Bench, until
from tests.support.providers import fake_paystack, fake_stripe
from workerpool_worker.models import Payment, Refund

pytestmark = pytest.mark.integration


@pytest.fixture
def stripe() -> Iterator[fake_stripe.FakeStripe]:
    with (fake := fake_stripe.FakeStripe()).web:
        yield fake


@pytest.fixture
def paystack() -> Iterator[fake_paystack.FakePaystack]:
    with (fake := fake_paystack.FakePaystack()).web:
        yield fake


def test_a_charge_at_stripe_whose_worker_died(bench: Bench, stripe: fake_stripe.FakeStripe) -> None:
    environ = {"PAYMENT_PROVIDER": "stripe", "STRIPE_API_KEY": fake_stripe.KEY, "STRIPE_API_URL": stripe.web.url}
    dying = bench.start(**environ).ready()
    stripe.web.fail_next("held", "POST", "/v1/payment_intents")
    bench.producer.payment(Payment(id="p1", amount_minor=700))
    assert stripe.web.holding.wait(20), bench.logs()
    assert len(stripe.intents) == 1
    dying.kill_group()
    stripe.web.released.set()
    bench.start(**environ)
    until(lambda: ("payment-p1", "succeeded") in bench.outcomes(), what=bench.logs)
    until(bench.all_done)
    assert [intent["status"] for intent in stripe.intents.values()] == ["succeeded"]
    assert len([asked for asked in stripe.web.asked if asked.path == "/v1/payment_intents"]) == 2
    assert fake_stripe.KEY not in bench.logs()
    assert "tok_visa" not in bench.logs()


def test_a_refund_at_paystack_whose_worker_died(bench: Bench, paystack: fake_paystack.FakePaystack) -> None:
    environ = {
        "PAYMENT_PROVIDER": "paystack",
        "PAYSTACK_SECRET_KEY": fake_paystack.KEY,
        "PAYSTACK_API_URL": paystack.web.url,
        "PAYSTACK_REFUND_SETTLE_SECONDS": 20,
    }
    dying = bench.start(**environ).ready()
    payment = Payment(id="p1", amount_minor=700, currency="NGN", token="AUTH_good", email="ada@example.org")
    bench.producer.payment(payment)
    until(lambda: ("payment-p1", "succeeded") in bench.outcomes(), what=bench.logs)
    paystack.web.fail_next("held", "POST", "/refund")
    bench.producer.refund(Refund(id="r1", payment_id="p1", amount_minor=200))
    assert paystack.web.holding.wait(20), bench.logs()
    dying.kill_group()
    paystack.web.released.set()
    # The list lags: the one who comes after may not take its silence for an answer.
    paystack.listing = False
    bench.start(**environ, WORKERPOOL_RETRY_CAP_MS=100)
    until(lambda: ("refund-r1", "retried") in bench.outcomes(), what=bench.logs)
    paystack.listing = True
    until(lambda: ("refund-r1", "pending") in bench.outcomes(), timeout_s=60, what=bench.logs)
    assert [made["amount"] for made in paystack.refunds] == [200]
    assert fake_paystack.KEY not in bench.logs()
