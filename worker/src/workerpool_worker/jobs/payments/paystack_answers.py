"""What Paystack's answers mean: errors in our classes, transactions and refunds as charges and refunds."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any

from workerpool_worker.jobs.payments.provider import Charge, ChargeStatus, RefundAnswer
from workerpool_worker.runtime import http
from workerpool_worker.runtime.errors import (
    JobError,
    PermanentError,
    ProviderTimeoutError,
    RateLimitedError,
    TransientError,
)

_BAD_REQUEST, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _TOO_MANY, _SERVER = 400, 401, 403, 404, 429, 500
# "reversed" was paid and went back: the list of refunds says how much. What is not named here is pending, and so is
# "abandoned", which means no more than that the customer has not finished yet.
_STATUS: Mapping[str, ChargeStatus] = {"success": "succeeded", "reversed": "succeeded", "failed": "declined"}


class RefusedError(PermanentError):
    """Paystack understood and will not: HTTP 400 and the like."""


def error_of(answer: http.Answer, *, hide: str = "") -> JobError:
    """What an answer that is no success means for the job; `hide` is a token that the text must not show."""
    body = answer.body if isinstance(answer.body, dict) else {}
    message = str(body.get("message") or "no message")
    text = f"Paystack {answer.status}: {message.replace(hide, '***') if hide else message}"
    if answer.status in {_UNAUTHORIZED, _FORBIDDEN} or message == "Invalid key":
        # A key can be put right while the job waits.
        return TransientError(f"{text}; PAYSTACK_SECRET_KEY is refused")
    if answer.status == _TOO_MANY:
        return RateLimitedError(text, retry_after_s=answer.retry_after_s())
    if answer.status >= _SERVER:
        return ProviderTimeoutError(text, retry_after_s=answer.retry_after_s())
    if answer.status < _BAD_REQUEST and body.get("status") is not False:
        return ProviderTimeoutError(f"Paystack answered {answer.status} with something that is not its JSON")
    return RefusedError(text)


def not_found(answer: http.Answer) -> bool:
    """Whether Paystack says that it has no such transaction: 404, or 400 with this code or (older) this text."""
    body = answer.body
    if answer.status not in {_BAD_REQUEST, _NOT_FOUND} or not isinstance(body, dict):
        return False
    return body.get("code") == "transaction_not_found" or body.get("message") == "Transaction reference not found"


def is_ours(transaction: Mapping[str, Any], payment: str) -> bool:
    """Whether a transaction's metadata does not name another payment."""
    metadata = transaction.get("metadata")
    if isinstance(metadata, str):
        with contextlib.suppress(ValueError):
            metadata = json.loads(metadata)
    return not isinstance(metadata, dict) or metadata.get("payment_id", payment) == payment


def amount_of(transaction: Mapping[str, Any]) -> int:
    """What was asked for; the amount also holds fees where the customer bears them."""
    return int(transaction.get("requested_amount") or transaction["amount"])


def as_charge(transaction: Mapping[str, Any], amount_minor: int = 0, currency: str = "") -> Charge:
    """A transaction as a charge. One that waits for the customer says where to confirm, and not how much was asked."""
    if transaction.get("paused"):
        return Charge(
            id=transaction["reference"],
            status="pending",
            amount_minor=amount_minor,
            currency=currency,
            reason="the customer has to confirm",
            action_url=transaction.get("authorization_url"),
        )
    status = _STATUS.get(transaction["status"], "pending")
    reason = None
    if status == "declined":
        reason = transaction.get("gateway_response") or transaction.get("message") or "declined"
    elif status == "pending":
        reason = transaction["status"]
    return Charge(
        id=transaction["reference"],
        status=status,
        amount_minor=amount_of(transaction),
        currency=transaction["currency"],
        reason=reason,
    )


def counts(refund: Mapping[str, Any]) -> bool:
    """Whether a refund takes from what is left of the charge: all but a failed one."""
    return bool(refund["status"] != "failed")


def as_refund(made: Mapping[str, Any]) -> RefundAnswer:
    """A refund; "pending", "processing" and "needs-attention" are on their way."""
    states = {"processed": "succeeded", "failed": "refused"}
    status: Any = states.get(made["status"], "pending")
    return RefundAnswer(
        id=str(made["id"]),
        status=status,
        amount_minor=int(made["amount"]),
        reason="the refund failed at the bank" if status == "refused" else None,
    )
