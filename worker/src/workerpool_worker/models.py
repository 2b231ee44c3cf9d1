"""The jobs as messages: what a producer fills in, what a worker checks again.

A job's id is made of its business id, so sending the same job twice is the same job.
Money is an integer number of the currency's minor unit; there are no floats.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

# Business ids become file names, Message-IDs and keys, so they are kept to what is safe in all of them.
BusinessId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
Minor = Annotated[int, Field(strict=True, ge=0, le=10**12)]
Positive = Annotated[int, Field(strict=True, ge=1, le=10**12)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Line = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^\r\n]+$")]


class Job(BaseModel):
    """One message: a task's name, its queue and its checked arguments."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: ClassVar[str]
    queue: ClassVar[str]
    prefix: ClassVar[str]
    id: BusinessId

    @property
    def job_id(self) -> str:
        """The task's id, made of the business id."""
        return f"{self.prefix}-{self.id}"

    def arguments(self) -> dict[str, Any]:
        """The task's keyword arguments, as JSON types."""
        return self.model_dump(mode="json")


class OrderLine(BaseModel):
    """An article of an order. The price is per piece and net of VAT."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sku: BusinessId
    quantity: Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
    unit_price_minor: Minor = 1_000
    description: Annotated[str, StringConstraints(max_length=200)] = ""

    @property
    def net_minor(self) -> int:
        """Price of the line without VAT, in minor units."""
        return self.quantity * self.unit_price_minor


class Order(Job):
    """An order to reserve stock for, invoice, and charge."""

    task: ClassVar[str] = "order.process"
    queue: ClassVar[str] = "order"
    prefix: ClassVar[str] = "order"

    customer: Text
    email: Line
    lines: Annotated[tuple[OrderLine, ...], Field(min_length=1, max_length=200)]
    currency: Currency = "EUR"
    vat_basis_points: Annotated[int, Field(strict=True, ge=0, le=10_000)] = 2_200
    payment_token: Line = "tok_visa"  # noqa: S105 - a made-up card

    @property
    def net_minor(self) -> int:
        """Sum of the lines without VAT, in minor units."""
        return sum(line.net_minor for line in self.lines)

    @property
    def vat_minor(self) -> int:
        """VAT of the whole order in minor units, rounded half up once."""
        return (self.net_minor * self.vat_basis_points + 5_000) // 10_000

    @property
    def total_minor(self) -> int:
        """What is charged, in minor units."""
        return self.net_minor + self.vat_minor


class Payment(Job):
    """Money to be charged; its id is the order's when an order asks for it."""

    task: ClassVar[str] = "payment.process"
    queue: ClassVar[str] = "payment"
    prefix: ClassVar[str] = "payment"

    amount_minor: Positive
    currency: Currency = "EUR"
    token: Line = "tok_visa"  # noqa: S105 - a made-up card
    order_id: BusinessId | None = None
    customer: Text = "Customer"
    email: Line | None = None


class Refund(Job):
    """Money to be given back; without an amount, all that is left of the charge."""

    task: ClassVar[str] = "payment.refund"
    queue: ClassVar[str] = "payment"
    prefix: ClassVar[str] = "refund"

    payment_id: BusinessId
    amount_minor: Positive | None = None


class Verify(Job):
    """A payment to compare with the provider's own record; the id is the payment's."""

    task: ClassVar[str] = "payment.verify"
    queue: ClassVar[str] = "payment"
    prefix: ClassVar[str] = "verify"


class EmailJob(Job):
    """A mail to one person."""

    queue: ClassVar[str] = "email"
    to: Line


class Email(EmailJob):
    """A mail whose text the producer wrote."""

    task: ClassVar[str] = "email.send"
    prefix: ClassVar[str] = "email"

    subject: Line
    text: str
    html: str | None = None


class WelcomeEmail(EmailJob):
    """Welcomes a new customer; the id is the customer's."""

    task: ClassVar[str] = "email.welcome"
    prefix: ClassVar[str] = "email-welcome"

    customer: Text


class OrderConfirmationEmail(EmailJob):
    """Confirms an order; the id is the order's."""

    task: ClassVar[str] = "email.order_confirmation"
    prefix: ClassVar[str] = "email-order-confirmation"

    customer: Text
    lines: tuple[OrderLine, ...]
    currency: Currency
    net_minor: Minor
    vat_minor: Minor
    total_minor: Minor
    invoice_number: Line


class ShippingNotificationEmail(EmailJob):
    """Tells that a parcel left; the id is the order's."""

    task: ClassVar[str] = "email.shipping_notification"
    prefix: ClassVar[str] = "email-shipping"

    customer: Text
    carrier: Line
    tracking_code: Line


class PaymentReceiptEmail(EmailJob):
    """Confirms a charge; the id is the payment's."""

    task: ClassVar[str] = "email.payment_receipt"
    prefix: ClassVar[str] = "email-receipt"

    customer: Text
    amount_minor: Positive
    currency: Currency


def money(amount_minor: int, currency: str) -> str:
    """The amount as people write it: 12345, EUR -> '123.45 EUR'."""
    digits = {"JPY": 0, "KRW": 0, "ISK": 0, "CLP": 0, "VND": 0, "BHD": 3, "KWD": 3, "TND": 3}.get(currency, 2)
    if not digits:
        return f"{amount_minor:,} {currency}"
    whole, part = divmod(abs(amount_minor), 10**digits)
    return f"{'-' if amount_minor < 0 else ''}{whole:,}.{part:0{digits}d} {currency}"
