from __future__ import annotations

import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerpool_worker.jobs.payments.currencies import from_stripe, to_stripe
from workerpool_worker.jobs.payments.paystack import payment_of, reference_of
from workerpool_worker.jobs.payments.paystack_answers import as_charge as paystack_charge
from workerpool_worker.jobs.payments.paystack_answers import as_refund as paystack_refund
from workerpool_worker.jobs.payments.stripe_answers import as_charge as stripe_charge
from workerpool_worker.jobs.payments.stripe_answers import as_refund as stripe_refund
from workerpool_worker.runtime.errors import PermanentError
from workerpool_worker.runtime.http import Answer
from workerpool_worker.settings import SettingsError, load_settings, settings_table

pytestmark = pytest.mark.unit

CURRENCIES = st.sampled_from(["EUR", "USD", "JPY", "KRW", "ISK", "KWD", "MGA", "XOF"])


@pytest.mark.parametrize(
    ("amount", "currency", "theirs"),
    [(1_999, "EUR", 1_999), (500, "JPY", 500), (500, "ISK", 50_000), (5_120, "KWD", 5_120), (700, "MGA", 7)],
)
def test_minor_units_as_stripe_counts_them(amount: int, currency: str, theirs: int) -> None:
    assert to_stripe(amount, currency) == theirs
    assert from_stripe(theirs, currency) == amount


@pytest.mark.parametrize(("amount", "currency"), [(5_124, "KWD"), (750, "MGA"), (500, "UGX")])
def test_an_amount_that_would_change_is_refused(amount: int, currency: str) -> None:
    with pytest.raises(PermanentError, match=currency):
        to_stripe(amount, currency)


@given(amount=st.integers(1, 10**12), currency=CURRENCIES)
def test_no_amount_changes_on_its_way_there_and_back(amount: int, currency: str) -> None:
    try:
        theirs = to_stripe(amount, currency)
    except PermanentError:
        return
    assert from_stripe(theirs, currency) == amount


@given(payment=st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z"))
def test_a_reference_is_what_paystack_takes_and_leads_back(payment: str) -> None:
    reference = reference_of(payment)
    assert all(char.isalnum() or char in "-.=" for char in reference)
    assert payment_of(reference) == payment


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("succeeded", "succeeded"),
        ("processing", "pending"),
        ("requires_action", "pending"),
        ("requires_confirmation", "pending"),
        ("requires_capture", "pending"),
        ("requires_payment_method", "declined"),
        ("canceled", "declined"),
        ("something_new", "pending"),
    ],
)
def test_states_of_stripe(theirs: str, ours: str) -> None:
    charge = stripe_charge({"id": "pi_1", "status": theirs, "amount": 5, "currency": "eur"})
    assert charge.status == ours
    assert bool(charge.reason) == (ours != "succeeded")


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("success", "succeeded"),
        ("reversed", "succeeded"),
        ("failed", "declined"),
        ("abandoned", "pending"),
        ("ongoing", "pending"),
        ("pending", "pending"),
        ("queued", "pending"),
        ("something new", "pending"),
    ],
)
def test_states_of_paystack(theirs: str, ours: str) -> None:
    charge = paystack_charge({"reference": "p1", "status": theirs, "amount": 5, "currency": "NGN"})
    assert charge.status == ours
    assert bool(charge.reason) == (ours != "succeeded")


@pytest.mark.parametrize(
    ("stripes", "paystacks", "ours"),
    [
        ("succeeded", "processed", "succeeded"),
        ("pending", "pending", "pending"),
        ("requires_action", "needs-attention", "pending"),
        ("failed", "failed", "refused"),
        ("canceled", "failed", "refused"),
    ],
)
def test_states_of_refunds(stripes: str, paystacks: str, ours: str) -> None:
    assert stripe_refund({"id": "re_1", "status": stripes, "amount": 5}, "EUR").status == ours
    assert paystack_refund({"id": 1, "status": paystacks, "amount": 5}).status == ours


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7),
        (" 0 ", 0),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60),
        ("Tue, 14 Nov 2023 22:00:00 GMT", 0),
        ("", None),
        ("soon", None),
        ("-5", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float | None) -> None:
    answer = Answer(status=429, headers={"Retry-After": text}, body=None)
    assert answer.retry_after_s(1_700_000_000) == seconds
    assert answer.retry_after_s(time.time()) is not None or seconds is None


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"PAYMENT_PROVIDER": "stripe"}, "STRIPE_API_KEY: must be set where PAYMENT_PROVIDER is stripe"),
        ({"PAYMENT_PROVIDER": "paystack"}, "PAYSTACK_SECRET_KEY: must be set where PAYMENT_PROVIDER is paystack"),
        ({"PAYMENT_PROVIDER": "barter"}, "PAYMENT_PROVIDER: "),
        ({"STRIPE_API_KEY": "sk_live_x\n"}, "STRIPE_API_KEY: "),
        (
            {"STRIPE_API_KEY": "sk_live_x", "STRIPE_API_URL": "http://mock"},
            "STRIPE_API_URL: a live key goes over https",
        ),
        ({"PAYSTACK_SECRET_KEY": "sk_live_x", "PAYSTACK_API_URL": "http://m"}, "PAYSTACK_API_URL: a live key"),
        ({"STRIPE_API_URL": "ftp://x"}, "STRIPE_API_URL: must be a URL"),
        ({"PAYMENT_REFERENCE_PREFIX": "a_b"}, "PAYMENT_REFERENCE_PREFIX: "),
        ({"PAYMENT_TIMEOUT_SECONDS": "0"}, "PAYMENT_TIMEOUT_SECONDS: "),
        ({"PAYMENT_PENDING_SECONDS": "1"}, "PAYMENT_PENDING_SECONDS: "),
        ({"PAYSTACK_REFUND_SETTLE_SECONDS": "-1"}, "PAYSTACK_REFUND_SETTLE_SECONDS: "),
        ({"STRIPE_OFF_SESSION": "perhaps"}, "STRIPE_OFF_SESSION: "),
    ],
)
def test_a_setting_that_cannot_be_is_one_line_that_names_it(environ: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings(environ)
    text = str(refused.value)
    assert text.startswith(says)
    assert "\n" not in text
    assert "sk_live" not in text


def test_keys_are_not_shown() -> None:
    environ = {"PAYMENT_PROVIDER": "stripe", "STRIPE_API_KEY": "sk_test_1", "PAYSTACK_SECRET_KEY": "sk_test_2"}
    settings = load_settings(environ)
    assert "sk_test" not in repr(settings_table(settings, environ))


def test_a_provider_that_is_not_asked_is_not_imported() -> None:
    code = """
import sys, workerpool_worker.jobs.payments.process, workerpool_worker.jobs.payments.webhooks
found = [name for name in sys.modules if name.endswith((".stripe", ".paystack")) or name == "urllib3"]
sys.exit(str(found) if found else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
