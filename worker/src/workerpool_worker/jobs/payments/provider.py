"""What the payment jobs need of a payment provider."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, kw_only=True)
class Charge:
    """The provider's answer to a charge. The same idempotency key always has the same answer."""

    id: str
    status: Literal["succeeded", "declined"]
    amount_minor: int
    currency: str
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class RefundAnswer:
    """The provider's answer to a refund."""

    id: str
    status: Literal["succeeded", "refused"]
    amount_minor: int
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Record:
    """What the provider's books say about a payment."""

    charge: Charge
    refunded_minor: int


class PaymentProvider(Protocol):
    """A provider. Every call may raise ProviderTimeoutError, after which the money may or may not have moved."""

    def charge(self, *, key: str, amount_minor: int, currency: str, token: str) -> Charge:
        """Charge once for an idempotency key."""

    def refund(self, *, key: str, payment: str, amount_minor: int | None) -> RefundAnswer:
        """Give back part or (None) the rest of the charge with the key `payment`, once for an idempotency key."""

    def lookup(self, payment: str) -> Record | None:
        """What happened under the key `payment`; None when nothing did."""
