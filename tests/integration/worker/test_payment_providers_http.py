"""What goes wrong between us and Stripe or Paystack, and which class of error it is."""

from __future__ import annotations

import dataclasses
import os
import time

import pytest

from tests.support.providers import fake_paystack, fake_stripe
from tests.support.providers.payment_sides import (
    INTENTS,
    SEARCH,
    Side,
    at_paystack,
    at_stripe,
    failing,
    pay,
    paystack,
    side,
    stripe,
)
from workerpool_worker.jobs.payments.paystack import PaystackProvider
from workerpool_worker.jobs.payments.stripe import StripeProvider
from workerpool_worker.runtime.errors import (
    PermanentError,
    ProviderTimeoutError,
    RateLimitedError,
    TransientError,
)

pytestmark = pytest.mark.integration

__all__ = ["paystack", "side", "stripe"]


def test_too_often_says_when_to_come_back(side: Side) -> None:
    side.fake.web.fail_next("instead", "POST", side.path, 429, {"error": {}}, Retry_After="7")
    error = failing(side.provider)
    assert isinstance(error, RateLimitedError)
    assert error.retry_after_s == 7
    side.fake.web.fail_next("instead", "POST", side.path, 429, None)
    error = failing(side.provider)
    assert isinstance(error, RateLimitedError)
    assert error.retry_after_s is None
    assert pay(side.provider).status == "succeeded"


def test_a_connection_refused_is_transient_and_nothing_was_asked(side: Side) -> None:
    error = failing(side.closed())
    assert isinstance(error, TransientError)
    assert not isinstance(error, ProviderTimeoutError)


def test_silence_is_an_unknown_outcome_within_the_time_out(side: Side) -> None:
    impatient = dataclasses.replace(side.provider, timeout_s=0.3)
    side.fake.web.fail_next("held", "POST", side.path)
    began = time.monotonic()
    assert type(failing(impatient)) is ProviderTimeoutError
    assert time.monotonic() - began < 3
    assert pay(side.provider, asked_s=time.time()).status == "succeeded"
    assert len(side.fake.succeeded("p1")) == 1


def test_a_broken_server_is_an_unknown_outcome(side: Side) -> None:
    side.fake.web.fail_next("instead", "POST", side.path, 503, None)
    assert isinstance(failing(side.provider), ProviderTimeoutError)
    side.fake.web.fail_next("instead", "POST", side.path, 200, None)
    assert isinstance(failing(side.provider), ProviderTimeoutError)
    assert pay(side.provider, asked_s=time.time()).status == "succeeded"
    assert len(side.fake.succeeded("p1")) == 1


def test_a_refused_key_is_named_and_not_shown(side: Side) -> None:
    wrong = "sk_test_wrong"
    provider = (
        StripeProvider(api_key=wrong, api_url=side.fake.web.url)
        if side.variable == "STRIPE_API_KEY"
        else PaystackProvider(secret_key=wrong, api_url=side.fake.web.url)
    )
    error = failing(provider)
    assert type(error) is TransientError
    assert side.variable in str(error)
    assert wrong not in f"{error}{provider!r}"
    with pytest.raises(TransientError):
        provider.lookup("p1")


def test_a_token_it_does_not_know_is_for_good_and_not_shown(side: Side) -> None:
    nonsense = "tok_nonsense" if side.path == INTENTS else "AUTH_nonsense"
    error = failing(side.provider, token=nonsense)
    assert isinstance(error, PermanentError)
    assert nonsense not in str(error)
    error = failing(side.provider, token="4242424242424242")
    assert isinstance(error, PermanentError)
    assert "4242" not in str(error)


def test_a_connection_serves_many_requests_and_no_fork(side: Side) -> None:
    for number in range(5):
        pay(side.provider, key=f"p{number}")
    assert side.fake.web.connections == 1
    child = os.fork()
    if child == 0:
        try:
            pay(side.provider, key="child")
            os._exit(0)
        except BaseException:  # noqa: BLE001 - a child of a test must never become a second test run
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert side.fake.web.connections == 2
    pay(side.provider, key="after")
    assert side.fake.web.connections == 2


def test_ids_of_two_shops_on_one_account_do_not_meet(
    stripe: fake_stripe.FakeStripe, paystack: fake_paystack.FakePaystack
) -> None:
    for one, other in (
        [at_stripe(stripe, prefix=name) for name in ("one-", "other-")],
        [at_paystack(paystack, prefix=name) for name in ("one-", "other-")],
    ):
        pay(one, key="1_1")
        assert other.lookup("1_1") is None
        pay(other, key="1_1")
        assert one.refund(key="r1", payment="1_1", amount_minor=None).amount_minor == 500
        record = other.lookup("1_1")
        assert record is not None
        assert record.refunded_minor == 0


def test_stripe_says_a_twin_is_at_it(stripe: fake_stripe.FakeStripe) -> None:
    body = {"error": {"type": "idempotency_error", "code": "idempotency_key_in_use", "message": "in use"}}
    stripe.web.fail_next("instead", "POST", INTENTS, 409, body)
    error = failing(at_stripe(stripe))
    assert type(error) is TransientError
    assert error.retry_after_s == 1
    assert "idempotency_key_in_use" in str(error)


def test_stripe_repeats_a_500_for_ever_and_its_books_tell(stripe: fake_stripe.FakeStripe) -> None:
    provider = at_stripe(stripe)
    stripe.web.fail_next("broken", "POST", INTENTS, 500, {"error": {"type": "api_error"}})
    assert isinstance(failing(provider), ProviderTimeoutError)
    stripe.keep_failure("charge:p1")
    stripe.searchable = False
    assert isinstance(failing(provider, asked_s=time.time()), ProviderTimeoutError)
    stripe.searchable = True
    assert pay(provider, asked_s=time.time()).status == "succeeded"
    assert len(stripe.succeeded("p1")) == 1


def test_stripe_forgets_a_key_after_a_day_and_is_searched_first(stripe: fake_stripe.FakeStripe) -> None:
    provider = at_stripe(stripe)
    stripe.web.fail_next("lost", "POST", INTENTS)
    failing(provider)
    stripe.keys.clear()
    charge = pay(provider, asked_s=time.time() - 86_400)
    assert (charge.status, len(stripe.succeeded("p1"))) == ("succeeded", 1)
    refund = provider.refund(key="r1", payment="p1", amount_minor=100, charge_id=charge.id)
    stripe.keys.clear()
    again = provider.refund(key="r1", payment="p1", amount_minor=100, charge_id=charge.id, asked_s=time.time() - 86_400)
    assert (again.id, len(stripe.refunds)) == (refund.id, 1)


def test_stripe_finds_a_charge_made_with_other_settings(stripe: fake_stripe.FakeStripe) -> None:
    stripe.web.fail_next("lost", "POST", INTENTS)
    failing(at_stripe(stripe))
    assert pay(at_stripe(stripe, off_session=True), asked_s=time.time()).status == "succeeded"
    assert len(stripe.intents) == 1


def test_stripe_searches_without_capitals_and_we_do_not(stripe: fake_stripe.FakeStripe) -> None:
    provider = at_stripe(stripe)
    pay(provider, key="ABC")
    assert provider.lookup("abc") is None
    assert provider.lookup("ABC") is not None


def test_stripe_charged_twice_behind_our_back_is_for_people(stripe: fake_stripe.FakeStripe) -> None:
    provider = at_stripe(stripe)
    pay(provider)
    stripe.keys.clear()
    pay(provider)
    with pytest.raises(PermanentError, match="pi_0001, pi_0002"):
        provider.lookup("p1")


def test_stripe_is_asked_by_id_where_it_is_known(stripe: fake_stripe.FakeStripe) -> None:
    provider = at_stripe(stripe)
    charge = pay(provider)
    stripe.searchable = False
    assert provider.lookup("p1", charge_id=charge.id) is not None
    assert provider.refund(key="r", payment="p1", amount_minor=None, charge_id=charge.id).status == "succeeded"
    assert not [asked for asked in stripe.web.asked if asked.path == SEARCH]


def test_a_saved_card_goes_with_its_customer_and_off_session_is_said(stripe: fake_stripe.FakeStripe) -> None:
    pay(at_stripe(stripe, off_session=True), token="cus_1:pm_1")
    fields = stripe.web.asked[0].fields
    assert (fields["customer"], fields["payment_method"], fields["off_session"]) == ("cus_1", "pm_1", "true")


def test_yen_are_whole_and_kronur_are_sent_in_hundredths(stripe: fake_stripe.FakeStripe) -> None:
    provider = at_stripe(stripe)
    for currency in ("JPY", "ISK"):
        charge = pay(provider, key=currency, currency=currency)
        assert (charge.amount_minor, charge.currency) == (500, currency)
        provider.refund(key=f"r{currency}", payment=currency, amount_minor=200)
        record = provider.lookup(currency)
        assert record is not None
        assert (record.refunded_minor, record.left_minor) == (200, 300)
    assert [intent["amount"] for intent in stripe.intents.values()] == [500, 50_000]
    assert [made["amount"] for made in stripe.refunds.values()] == [200, 20_000]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"currency": "EUR"}, "NGN, GHS, ZAR, KES, USD, not EUR"),
        ({"email": None}, "email"),
        ({"token": "tok_visa"}, "AUTH_"),
    ],
)
def test_paystack_refuses_what_it_cannot_do_before_it_is_asked(
    paystack: fake_paystack.FakePaystack, more: dict[str, object], says: str
) -> None:
    error = failing(at_paystack(paystack), **more)
    assert isinstance(error, PermanentError)
    assert says in str(error)
    assert paystack.web.asked == []


def test_paystack_reference_of_another_is_not_ours(paystack: fake_paystack.FakePaystack) -> None:
    provider = at_paystack(paystack)
    pay(provider)
    paystack.transactions["p1"]["metadata"] = {"payment_id": "somebody-elses"}
    with pytest.raises(PermanentError, match="another's"):
        provider.lookup("p1")
    paystack.transactions["p1"]["metadata"] = '{"payment_id": "p1"}'
    assert provider.lookup("p1") is not None


def test_paystack_names_the_page_where_the_customer_confirms(paystack: fake_paystack.FakePaystack) -> None:
    charge = pay(at_paystack(paystack), token="AUTH_confirm")
    assert charge.action_url == "https://checkout.paystack.com/resume/0744ub5o065nwyz"


def test_paystack_is_not_asked_for_a_refund_again_before_it_would_list_it(
    paystack: fake_paystack.FakePaystack,
) -> None:
    now = [1_000.0]
    provider = at_paystack(paystack, settle_s=300, now_s=lambda: now[0])
    pay(provider)
    paystack.web.fail_next("lost", "POST", "/refund")
    with pytest.raises(ProviderTimeoutError):
        provider.refund(key="r1", payment="p1", amount_minor=100)
    paystack.listing = False
    now[0] += 100
    with pytest.raises(TransientError) as waits:
        provider.refund(key="r1", payment="p1", amount_minor=100, asked_s=1_000.0)
    assert waits.value.retry_after_s == 200
    # Nothing was asked: the time of the last asking must not move.
    assert not isinstance(waits.value, ProviderTimeoutError)
    assert len(paystack.refunds) == 1
    paystack.listing = True
    assert provider.refund(key="r1", payment="p1", amount_minor=100, asked_s=1_000.0).amount_minor == 100
    now[0] += 300
    assert provider.refund(key="r1", payment="p1", amount_minor=100, asked_s=1_000.0).amount_minor == 100
    assert len(paystack.refunds) == 1


def test_paystack_refund_that_never_arrived_is_asked_for_after_the_wait(
    paystack: fake_paystack.FakePaystack,
) -> None:
    provider = at_paystack(paystack, settle_s=0)
    pay(provider)
    paystack.web.fail_next("instead", "POST", "/refund", 504, None)
    with pytest.raises(ProviderTimeoutError):
        provider.refund(key="r1", payment="p1", amount_minor=100)
    assert provider.refund(key="r1", payment="p1", amount_minor=100, asked_s=time.time() - 1).amount_minor == 100
    assert len(paystack.refunds) == 1


def test_paystack_lists_refunds_by_the_page_and_a_failed_one_takes_nothing(
    paystack: fake_paystack.FakePaystack,
) -> None:
    provider = at_paystack(paystack)
    pay(provider)
    for number in range(101):
        provider.refund(key=f"r{number}", payment="p1", amount_minor=4)
    record = provider.lookup("p1")
    assert record is not None
    assert record.refunded_minor == 404
    paystack.refunds[100]["status"] = "failed"
    assert provider.refund(key="r100", payment="p1", amount_minor=4).status == "refused"
    record = provider.lookup("p1")
    assert record is not None
    assert record.refunded_minor == 400
