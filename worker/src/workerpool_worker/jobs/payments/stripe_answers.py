"""What Stripe's answers mean: errors in our classes, PaymentIntents and Refunds as charges and refunds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workerpool_worker.jobs.payments.currencies import from_stripe
from workerpool_worker.jobs.payments.provider import Charge, ChargeStatus, Record, RefundAnswer
from workerpool_worker.runtime import http
from workerpool_worker.runtime.errors import (
    JobError,
    PermanentError,
    ProviderTimeoutError,
    RateLimitedError,
    TransientError,
)

_CONFLICT_S = 1.0
_BAD_REQUEST, _CONFLICT, _DEPENDENCY, _TOO_MANY, _SERVER = 400, 409, 424, 429, 500
# A status that is not named here, or not known yet, is pending: neither paid nor given up.
_STATUS: Mapping[str, ChargeStatus] = {
    "succeeded": "succeeded",
    "requires_payment_method": "declined",
    "canceled": "declined",
}


class RefusedError(PermanentError):
    """Stripe understood and will not: HTTP 400, 404 and the like."""


class KeyUsedError(PermanentError):
    """The idempotency key was used with other parameters."""


class FailedError(ProviderTimeoutError):
    """HTTP 5xx: Stripe broke down in the middle. The same key gives the same answer, for ever."""


def said_in(answer: http.Answer) -> dict[str, Any]:
    """The error object of an answer, empty where there is none."""
    error = answer.body.get("error") if isinstance(answer.body, dict) else None
    return error if isinstance(error, dict) else {}


def error_of(answer: http.Answer, *, hide: str) -> JobError:
    """What an answer that is no success means for the job."""
    said = said_in(answer)
    message = str(said.get("message") or "no message")
    for secret in filter(None, hide.split(":")):
        message = message.replace(secret, "***")
    what = said.get("code") or said.get("type") or "error"
    text = f"Stripe {answer.status} {what}: {message} (request {answer.headers.get('Request-Id', 'unknown')})"
    if answer.status in {401, 403}:
        # A key can be put right while the job waits.
        return TransientError(f"{text}; STRIPE_API_KEY is refused")
    if answer.status == _TOO_MANY:
        return RateLimitedError(text, retry_after_s=answer.retry_after_s())
    if answer.status == _CONFLICT:
        return TransientError(text, retry_after_s=answer.retry_after_s() or _CONFLICT_S)
    if answer.status < _BAD_REQUEST:
        return ProviderTimeoutError(f"Stripe answered {answer.status} with something that is not JSON")
    if answer.status >= _SERVER or answer.status == _DEPENDENCY:
        return FailedError(text, retry_after_s=answer.retry_after_s())
    return KeyUsedError(text) if said.get("type") == "idempotency_error" else RefusedError(text)


def status_of(intent: Mapping[str, Any]) -> ChargeStatus:
    """The status of a PaymentIntent in our words."""
    return _STATUS.get(intent["status"], "pending")


def as_charge(intent: Mapping[str, Any]) -> Charge:
    """A PaymentIntent as a charge."""
    status, currency = status_of(intent), intent["currency"].upper()
    problem = intent.get("last_payment_error") or {}
    reason = None
    if status == "declined":
        reason = _reason(problem) if problem else intent.get("cancellation_reason") or intent["status"]
    elif status == "pending":
        reason = intent["status"]
    action = ((intent.get("next_action") or {}).get("redirect_to_url") or {}).get("url")
    return Charge(
        id=intent["id"],
        status=status,
        amount_minor=from_stripe(intent["amount"], currency),
        currency=currency,
        reason=reason,
        action_url=action,
    )


def as_record(intent: Mapping[str, Any]) -> Record:
    """A PaymentIntent, its latest charge expanded, as a record."""
    latest = intent.get("latest_charge")
    refunded = latest["amount_refunded"] if isinstance(latest, dict) else 0
    return Record(charge=as_charge(intent), refunded_minor=from_stripe(refunded, intent["currency"].upper()))


def as_refund(made: Mapping[str, Any], currency: str) -> RefundAnswer:
    """A Refund; one that waits for a bank or for the customer is on its way."""
    states = {"succeeded": "succeeded", "failed": "refused", "canceled": "refused"}
    status: Any = states.get(made["status"] or "", "pending")
    return RefundAnswer(
        id=made["id"],
        status=status,
        amount_minor=from_stripe(made["amount"], currency),
        reason=made.get("failure_reason") if status == "refused" else None,
    )


def declined_of(error: Mapping[str, Any], amount_minor: int, currency: str) -> Charge:
    """The error of a card that was declined; the PaymentIntent within says little more."""
    intent = error.get("payment_intent") or {}
    return Charge(
        id=intent.get("id", ""),
        status="declined",
        amount_minor=amount_minor,
        currency=currency,
        reason=_reason(error),
    )


def _reason(error: Mapping[str, Any]) -> str:
    code = error.get("decline_code") or error.get("code") or "declined"
    return f"{code}: {error['message']}" if error.get("message") else str(code)
