"""Webhooks of the providers, for the shop's web application: is it really from them, and which payment is it about?

An event is a reason to look, never a fact: `payment.verify` reads the provider's own books. So an event that comes
twice, late or out of order does no harm. Nothing here does I/O, and nothing of a provider is imported.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from workerpool_worker.models import Verify

_STRIPE_OBJECTS = ("payment_intent.", "charge.", "refund.")


class WebhookError(ValueError):
    """The request is not the provider's, or is too old: answer 400 and do nothing."""


@dataclass(frozen=True, kw_only=True)
class WebhookEvent:
    """An event whose signature is right.

    Attributes:
        id: The provider's id of the event; empty where it gives none.
        kind: The provider's name of what happened, such as "charge.success".
        verify: The job to send; None where the event is about no payment of ours.
    """

    provider: str
    id: str
    kind: str
    verify: Verify | None


def verify_stripe(
    payload: bytes, header: str, secret: str, now_s: float, tolerance_s: float = 300.0, *, prefix: str = ""
) -> WebhookEvent:
    """Check the header Stripe-Signature and read the event.

    Args:
        payload: The request's body, byte for byte.
        header: The value of Stripe-Signature.
        secret: The endpoint's signing secret (whsec_...).
        now_s: Unix time.
        tolerance_s: How far the signature's time may be from `now_s`: an older request is a replay.
        prefix: PAYMENT_REFERENCE_PREFIX.

    Raises:
        WebhookError: not from Stripe, or too old.
    """
    _need_secret(secret)
    pairs = [part.strip().partition("=") for part in header.split(",")]
    times = [value for name, _, value in pairs if name == "t"]
    if len(times) != 1 or not (times[0].isascii() and times[0].isdigit()):
        raise WebhookError("Stripe-Signature has no time")
    expected = hmac.new(secret.encode(), times[0].encode() + b"." + payload, hashlib.sha256).hexdigest()
    # While a secret is rolled there is one signature for each. All are compared, each in constant time.
    right = [hmac.compare_digest(expected.encode(), value.encode()) for name, _, value in pairs if name == "v1"]
    if not any(right):
        raise WebhookError("Stripe-Signature is not of this secret and body")
    if abs(now_s - int(times[0])) > tolerance_s:
        raise WebhookError(f"Stripe-Signature is more than {tolerance_s:g} s off")
    event = _parsed(payload)
    kind = str(event.get("type", ""))
    about = _dict(_dict(event.get("data")).get("object"))
    payment = _dict(about.get("metadata")).get("payment_id") if kind.startswith(_STRIPE_OBJECTS) else None
    return WebhookEvent(provider="stripe", id=str(event.get("id", "")), kind=kind, verify=_job(payment, prefix))


def verify_paystack(payload: bytes, header: str, secret: str, *, prefix: str = "") -> WebhookEvent:
    """Check the header x-paystack-signature (HMAC-SHA512 of the body with the secret key) and read the event.

    It names no time, so a replay cannot be told; it does no more harm than a `payment.verify` more.

    Raises:
        WebhookError: not from Paystack.
    """
    _need_secret(secret)
    expected = hmac.new(secret.encode(), payload, hashlib.sha512).hexdigest()
    if not hmac.compare_digest(expected.encode(), header.strip().encode()):
        raise WebhookError("x-paystack-signature is not of this secret and body")
    event = _parsed(payload)
    kind, data = str(event.get("event", "")), _dict(event.get("data"))
    reference = None
    if kind.startswith("refund."):
        reference = data.get("transaction_reference")
    elif kind.startswith("charge.") and not kind.startswith("charge.dispute."):
        reference = data.get("reference")
    # In a reference `=` stands for the `_` of our id; see `paystack.reference_of`.
    payment = reference.replace("=", "_") if isinstance(reference, str) else None
    return WebhookEvent(provider="paystack", id=str(data.get("id", "")), kind=kind, verify=_job(payment, prefix))


def _need_secret(secret: str) -> None:
    if not secret:
        # Anybody can sign with an empty secret.
        raise ValueError("the webhook's secret is empty")


def _parsed(payload: bytes) -> dict[str, Any]:
    try:
        event = json.loads(payload)
    except ValueError as error:
        raise WebhookError("the body is not JSON") from error
    if not isinstance(event, dict):
        raise WebhookError("the body is no event")
    return event


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _job(payment: object, prefix: str) -> Verify | None:
    if not isinstance(payment, str) or not payment.startswith(prefix):
        return None
    try:
        return Verify(id=payment.removeprefix(prefix))
    except ValidationError:
        # Somebody else's payment on the same account.
        return None
