"""Stripe and Paystack by their fakes, as far as the two are alike."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.providers import fake_paystack, fake_stripe
from workerpool_worker.jobs.payments.paystack import PaystackProvider
from workerpool_worker.jobs.payments.provider import Charge
from workerpool_worker.jobs.payments.stripe import StripeProvider
from workerpool_worker.runtime.errors import JobError

INTENTS, SEARCH, REFUNDS = "/v1/payment_intents", "/v1/payment_intents/search", "/v1/refunds"
AUTHORIZATION = "/transaction/charge_authorization"


@pytest.fixture
def stripe() -> Iterator[fake_stripe.FakeStripe]:
    with (fake := fake_stripe.FakeStripe()).web:
        yield fake


@pytest.fixture
def paystack() -> Iterator[fake_paystack.FakePaystack]:
    with (fake := fake_paystack.FakePaystack()).web:
        yield fake


def at_stripe(fake: fake_stripe.FakeStripe, **more: object) -> StripeProvider:
    return StripeProvider(api_key=fake_stripe.KEY, api_url=fake.web.url, **({"timeout_s": 5} | more))  # type: ignore[arg-type]


def at_paystack(fake: fake_paystack.FakePaystack, **more: object) -> PaystackProvider:
    return PaystackProvider(secret_key=fake_paystack.KEY, api_url=fake.web.url, **({"timeout_s": 5} | more))  # type: ignore[arg-type]


def pay(provider: StripeProvider | PaystackProvider, key: str = "p1", token: str = "", **more: object) -> Charge:
    ours = {"currency": "EUR", "token": token or "tok_visa"}
    if isinstance(provider, PaystackProvider):
        ours = {"currency": "NGN", "token": token or "AUTH_good"}
    return provider.charge(**({"key": key, "amount_minor": 500, "email": "a@example.org"} | ours | more))  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Side:
    """Stripe or Paystack, as far as the two fail alike."""

    fake: fake_stripe.FakeStripe | fake_paystack.FakePaystack
    provider: StripeProvider | PaystackProvider
    path: str
    variable: str

    def closed(self) -> StripeProvider | PaystackProvider:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        if isinstance(self.provider, StripeProvider):
            return StripeProvider(api_key=fake_stripe.KEY, api_url=url)
        return PaystackProvider(secret_key=fake_paystack.KEY, api_url=url)


@pytest.fixture(params=["stripe", "paystack"])
def side(request: pytest.FixtureRequest, stripe: fake_stripe.FakeStripe, paystack: fake_paystack.FakePaystack) -> Side:
    if request.param == "stripe":
        return Side(fake=stripe, provider=at_stripe(stripe), path=INTENTS, variable="STRIPE_API_KEY")
    return Side(fake=paystack, provider=at_paystack(paystack), path=AUTHORIZATION, variable="PAYSTACK_SECRET_KEY")


def failing(provider: StripeProvider | PaystackProvider, **more: object) -> JobError:
    with pytest.raises(JobError) as failed:
        pay(provider, **more)  # type: ignore[arg-type]
    return failed.value
