"""What the payment jobs need of a payment provider."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

ChargeStatus = Literal["succeeded", "declined", "pending"]


@dataclass(frozen=True, kw_only=True)
class Charge:
    """The provider's answer to a charge. The same idempotency key always has the same answer.

    Attributes:
        id: The provider's own id; empty where a refusal created nothing.
        status: "pending" is no answer yet: the customer has to confirm (3-D Secure), or a bank takes its time.
        reason: Why it was declined, or what it waits for.
        action_url: Where the customer confirms, if the provider named a page.
    """

    id: str
    status: ChargeStatus
    amount_minor: int
    currency: str
    reason: str | None = None
    action_url: str | None = None


@dataclass(frozen=True, kw_only=True)
class RefundAnswer:
    """The provider's answer to a refund. "pending" was accepted and is on its way."""

    id: str
    status: Literal["succeeded", "pending", "refused"]
    amount_minor: int
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Record:
    """What the provider's books say about a payment; refunds on their way count, failed ones do not."""

    charge: Charge
    refunded_minor: int

    @property
    def left_minor(self) -> int:
        """What could still be given back."""
        return self.charge.amount_minor - self.refunded_minor if self.charge.status == "succeeded" else 0


class PaymentProvider(Protocol):
    """A provider. Every call may raise a JobError; after ProviderTimeoutError money may or may not have moved.

    `charge_id` is the provider's id of the charge where we know it; without, the provider's books are searched.
    """

    def charge(
        self,
        *,
        key: str,
        amount_minor: int,
        currency: str,
        token: str,
        email: str | None = None,
        asked_s: float | None = None,
    ) -> Charge:
        """Charge once for an idempotency key.

        Args:
            key: Our id of the payment.
            amount_minor: In the currency's minor unit, as ISO 4217 has it.
            currency: Three capital letters.
            token: What the shop's page got from the provider for the customer's card.
            email: The customer's.
            asked_s: When the same charge was first asked for, if it was asked for before (Unix seconds).
        """

    def refund(
        self,
        *,
        key: str,
        payment: str,
        amount_minor: int | None,
        charge_id: str | None = None,
        asked_s: float | None = None,
    ) -> RefundAnswer:
        """Give back part or (None) the rest of the charge with the key `payment`, once for an idempotency key.

        `asked_s` is when this refund was last asked for without an answer (Unix seconds).
        """

    def lookup(self, payment: str, *, charge_id: str | None = None) -> Record | None:
        """What happened under the key `payment`; None when nothing did."""

    def cancel(self, payment: str, *, charge_id: str | None = None) -> Record | None:
        """Give up a charge that is pending, if it still is; the record after that."""
