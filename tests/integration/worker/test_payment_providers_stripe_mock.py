"""Stripe's own idea of our requests, and of the answers that our fake gives.

stripe-mock refuses requests that Stripe's OpenAPI description does not allow, and answers with Stripe's samples.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.providers import fake_stripe
from tests.support.providers.stripe_mock import stripe_mock
from workerpool_worker.jobs.payments.stripe import StripeProvider
from workerpool_worker.runtime import http
from workerpool_worker.runtime.errors import PermanentError

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1500)]  # a first build takes its time

__all__ = ["stripe_mock"]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, http.Answer]]:
    """Every request that leaves, and its answer."""
    all_sent: list[tuple[str, str, http.Answer]] = []
    request = http.request

    def noted(method: str, url: str, **more: Any) -> http.Answer:
        answer = request(method, url, **more)
        path = url.partition("?")[0].split("/", 3)[3]
        all_sent.append((method, path, answer))
        return answer

    monkeypatch.setattr(http, "request", noted)
    return all_sent


def use(provider: StripeProvider) -> None:
    """Everything we ever ask of Stripe."""
    for number, token in enumerate(("tok_visa", "pm_card_visa", "cus_1:pm_card_visa")):
        charged = provider.charge(key=f"p{number}", amount_minor=500, currency="EUR", token=token)
        assert charged.id.startswith("pi_")
        assert charged.currency
    provider.lookup("p0")
    record = provider.lookup("p0", charge_id=charged.id)
    assert record is not None
    assert record.refunded_minor == 0
    refund = provider.refund(key="r1", payment="p2", amount_minor=100, charge_id=charged.id)
    assert refund.id.startswith("re_")
    again = provider.refund(key="r1", payment="p2", amount_minor=100, charge_id=charged.id, asked_s=1.0)
    assert again.id.startswith("re_")


def test_stripe_takes_every_request_we_make(
    stripe_mock: str, sent: list[tuple[str, str, http.Answer]], monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = StripeProvider(api_key="sk_test_123", api_url=stripe_mock, off_session=True)
    use(provider)
    # The sample PaymentIntent is not pending, so it is canceled past our look at its status.
    provider._post("/v1/payment_intents/pi_1/cancel", {}, "cancel:p1")
    assert {(method, path) for method, path, _ in sent} >= {
        ("POST", "v1/payment_methods"),
        ("POST", "v1/payment_intents"),
        ("GET", "v1/payment_intents/search"),
        ("POST", "v1/refunds"),
        ("GET", "v1/refunds"),
        ("POST", "v1/payment_intents/pi_1/cancel"),
    }
    assert {answer.status for _, _, answer in sent} == {200}


def test_stripe_mock_would_refuse_a_wrong_request(stripe_mock: str) -> None:
    provider = StripeProvider(api_key="sk_test_123", api_url=stripe_mock)
    with pytest.raises(PermanentError, match="Stripe 400"):
        provider._post("/v1/payment_intents", {"amount": "5", "currency": "eur", "nonsense": "1"}, "k")
    with pytest.raises(PermanentError, match="Stripe 400"):
        provider._post("/v1/refunds", {"amount": "five"}, "k")


def test_the_fake_answers_in_stripes_shapes(stripe_mock: str, sent: list[tuple[str, str, http.Answer]]) -> None:
    use(StripeProvider(api_key="sk_test_123", api_url=stripe_mock))
    theirs = {(method, _kind(path)): answer.body for method, path, answer in sent}
    sent.clear()
    with (fake := fake_stripe.FakeStripe()).web:
        use(StripeProvider(api_key=fake_stripe.KEY, api_url=fake.web.url))
    ours = {(method, _kind(path)): answer.body for method, path, answer in sent}
    assert set(ours) == set(theirs)
    for what, body in ours.items():
        _same_shape(body, theirs[what], f"{what}")


def _kind(path: str) -> str:
    return "v1/payment_intents/ID" if path.startswith("v1/payment_intents/pi_") else path


def _same_shape(ours: Any, theirs: Any, where: str) -> None:
    """What the fake says is a part of what Stripe says, of the same types."""
    if ours is None or theirs is None:
        return
    if isinstance(ours, dict):
        assert isinstance(theirs, dict), where
        for name, value in ours.items():
            if "metadata" in where:
                assert isinstance(value, str)
                continue
            assert name in theirs, f"{where}.{name}"
            _same_shape(value, theirs[name], f"{where}.{name}")
    elif isinstance(ours, list):
        assert isinstance(theirs, list), where
        for one in ours[:1] if theirs else []:
            _same_shape(one, theirs[0], f"{where}[]")
    else:
        assert type(ours) is type(theirs), where
