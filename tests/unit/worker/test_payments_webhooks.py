from __future__ import annotations

import hashlib
import hmac
import json

import pytest

from workerpool_worker.jobs.payments.webhooks import WebhookError, verify_paystack, verify_stripe

pytestmark = pytest.mark.unit

NOW = 1_700_000_000
SECRET = "whsec_one"


def stripe_event(kind: str = "payment_intent.succeeded", **about: object) -> bytes:
    thing: dict[str, object] = {"id": "pi_1", "metadata": {"payment_id": "p_1"}}
    return json.dumps({"id": "evt_1", "type": kind, "data": {"object": thing | about}}).encode()


def signed(payload: bytes, *, at: int = NOW, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), f"{at}.".encode() + payload, hashlib.sha256).hexdigest()


def header(payload: bytes, *, at: int = NOW, secret: str = SECRET) -> str:
    return f"t={at},v1={signed(payload, at=at, secret=secret)},v0={'0' * 64}"


def paystack_event(kind: str = "charge.success", **data: object) -> tuple[bytes, str]:
    payload = json.dumps({"event": kind, "data": {"id": 302961, "reference": "p=1"} | data}).encode()
    return payload, hmac.new(b"sk_test", payload, hashlib.sha512).hexdigest()


def test_an_event_of_stripe_is_the_job_that_looks() -> None:
    payload = stripe_event()
    event = verify_stripe(payload, header(payload), SECRET, NOW)
    assert (event.provider, event.id, event.kind) == ("stripe", "evt_1", "payment_intent.succeeded")
    assert event.verify is not None
    assert event.verify.job_id == "verify-p_1"


def test_the_signature_is_worked_out_as_stripe_describes() -> None:
    # Worked out with openssl: printf '%s' '1492774577.{"a":1}' | openssl dgst -sha256 -hmac whsec_test
    made = "2a55874e33dedb30da6fac02873208f53a243141599a71c0d52a1d5b89656823"
    assert signed(b'{"a":1}', at=1_492_774_577, secret="whsec_test") == made
    event = verify_stripe(b'{"a":1}', f"t=1492774577,v1={made}", "whsec_test", 1_492_774_577)
    assert event.verify is None


@pytest.mark.parametrize("kind", ["charge.refunded", "refund.failed", "charge.dispute.created"])
def test_what_happens_to_a_charge_of_ours_is_looked_at(kind: str) -> None:
    payload = stripe_event(kind)
    assert verify_stripe(payload, header(payload), SECRET, NOW).verify is not None


@pytest.mark.parametrize(
    "payload",
    [
        stripe_event("customer.created"),
        stripe_event(metadata={}),
        stripe_event(metadata={"payment_id": "../x"}),
        stripe_event(metadata={"payment_id": 5}),
        b'{"type": "charge.refunded", "data": null}',
    ],
)
def test_an_event_about_nothing_of_ours_is_no_job(payload: bytes) -> None:
    assert verify_stripe(payload, header(payload), SECRET, NOW).verify is None


def test_of_several_signatures_one_is_enough_while_a_secret_is_rolled() -> None:
    payload = stripe_event()
    both = f"t={NOW},v1={signed(payload, secret='whsec_old')},v1={signed(payload)}"
    for secret in (SECRET, "whsec_old"):
        assert verify_stripe(payload, both, secret, NOW).verify is not None
    with pytest.raises(WebhookError):
        verify_stripe(payload, both, "whsec_other", NOW)


@pytest.mark.parametrize("off_s", [-301, 301])
def test_a_replay_is_refused_and_so_is_the_future(off_s: int) -> None:
    payload = stripe_event()
    with pytest.raises(WebhookError, match="300 s off"):
        verify_stripe(payload, header(payload), SECRET, NOW + off_s)
    assert verify_stripe(payload, header(payload), SECRET, NOW + off_s, tolerance_s=301).verify is not None


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "t=,v1=",
        f"t={NOW}",
        "v1=" + "0" * 64,
        f"t=soon,v1={'0' * 64}",
        f"t=\u0661,v1={'0' * 64}",
        f"t={NOW},v1={'0' * 64}",
        f"t={NOW},v1=\u00e9",
        f"t={NOW},t={NOW},v1={signed(stripe_event())}",
        f"t={NOW},v0={signed(stripe_event())}",
        f"t={NOW + 1},v1={signed(stripe_event())}",
    ],
)
def test_a_header_that_is_not_stripes_is_refused(bad: str) -> None:
    with pytest.raises(WebhookError):
        verify_stripe(stripe_event(), bad, SECRET, NOW)


def test_one_byte_more_is_another_body() -> None:
    payload = stripe_event()
    with pytest.raises(WebhookError):
        verify_stripe(payload + b" ", header(payload), SECRET, NOW)
    body, signature = paystack_event()
    with pytest.raises(WebhookError):
        verify_paystack(body + b" ", signature, "sk_test")


@pytest.mark.parametrize("body", [b"", b"[1]", b"\xff", b'"text"'])
def test_a_signed_body_that_is_no_event_is_refused(body: bytes) -> None:
    with pytest.raises(WebhookError):
        verify_stripe(body, header(body), SECRET, NOW)


def test_an_empty_secret_would_let_anybody_in() -> None:
    payload = stripe_event()
    with pytest.raises(ValueError, match="empty") as refused:
        verify_stripe(payload, header(payload, secret=""), "", NOW)
    assert not isinstance(refused.value, WebhookError)
    body, _ = paystack_event()
    with pytest.raises(ValueError, match="empty"):
        verify_paystack(body, hmac.new(b"", body, hashlib.sha512).hexdigest(), "")


@pytest.mark.parametrize(
    ("kind", "data", "payment"),
    [
        ("charge.success", {}, "p_1"),
        ("refund.processed", {"reference": None, "transaction_reference": "p=2"}, "p_2"),
        ("refund.failed", {"transaction_reference": "p3", "amount": "10000"}, "p3"),
        ("transfer.success", {}, None),
        ("charge.dispute.create", {}, None),
        ("charge.success", {"reference": None}, None),
        ("charge.success", {"reference": "no id of ours/"}, None),
    ],
)
def test_an_event_of_paystack(kind: str, data: dict[str, object], payment: str | None) -> None:
    payload, signature = paystack_event(kind, **data)
    event = verify_paystack(payload, signature, "sk_test")
    assert (event.provider, event.id, event.kind) == ("paystack", "302961", kind)
    assert (event.verify and event.verify.id) == payment


@pytest.mark.parametrize("bad", ["", "0" * 128, "\u00e9"])
def test_a_signature_that_is_not_paystacks_is_refused(bad: str) -> None:
    payload, _ = paystack_event()
    with pytest.raises(WebhookError):
        verify_paystack(payload, bad, "sk_test")


def test_only_ids_with_our_prefix_are_ours() -> None:
    payload = stripe_event(metadata={"payment_id": "shop-7"})
    event = verify_stripe(payload, header(payload), SECRET, NOW, prefix="shop-")
    assert event.verify is not None
    assert event.verify.id == "7"
    body, signature = paystack_event()
    assert verify_paystack(body, signature, "sk_test", prefix="shop-").verify is None
