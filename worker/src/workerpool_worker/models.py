"""The jobs as messages: what a producer fills in, what a worker checks again.

A job's id is made of its business id, so sending the same job twice is the same job.
Money is an integer number of the currency's minor unit; there are no floats.
"""

from __future__ import annotations

import base64
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, model_validator

from workerpool_worker.minor_units import digits_of

# Business ids become file names, Message-IDs and keys, so they are kept to what is safe in all of them.
BusinessId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
Minor = Annotated[int, Field(strict=True, ge=0, le=10**12)]
Positive = Annotated[int, Field(strict=True, ge=1, le=10**12)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=500)]
MediaType = Annotated[
    str,
    StringConstraints(
        pattern=r"^(application|audio|font|image|model|text|video)/[a-z0-9][a-z0-9.+_-]{0,126}$", to_lower=True
    ),
]
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


class Attachment(BaseModel):
    """A file for a mail: in the message itself (`content`, base64), or named (`reference`) and read when it is sent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    filename: Annotated[str, StringConstraints(max_length=200)] = ""
    content_type: MediaType | None = None
    # 20 MB, which is the most a worker can be told to send, are 27 MB in base64.
    content: Annotated[str, StringConstraints(max_length=27_000_000)] | None = None
    reference: Annotated[str, StringConstraints(pattern=r"^invoice:[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Attachment:
        if (self.content is None) == (self.reference is None):
            raise ValueError("an attachment has either content or a reference")
        return self

    @classmethod
    def of(cls, filename: str, content: bytes, content_type: str = "application/octet-stream") -> Attachment:
        """A file whose bytes travel with the message. What is large is better kept elsewhere: it lies in Redis."""
        return cls(filename=filename, content_type=content_type, content=base64.b64encode(content).decode())

    @classmethod
    def invoice(cls, order_id: str) -> Attachment:
        """The invoice of an order, as the database has it when the mail is sent."""
        return cls(reference=f"invoice:{order_id}")


class EmailJob(Job):
    """A mail to one person."""

    queue: ClassVar[str] = "email"
    to: Line
    attachments: Annotated[tuple[Attachment, ...], Field(max_length=10)] = ()

    def arguments(self) -> dict[str, Any]:
        """The task's keyword arguments. Without attachments they are not named, as in older messages."""
        values = super().arguments()
        if not self.attachments:
            del values["attachments"]
        return values


class Email(EmailJob):
    """A mail whose text the producer wrote."""

    task: ClassVar[str] = "email.send"
    prefix: ClassVar[str] = "email"

    subject: Line
    text: str
    html: str | None = None


class TemplateEmail(EmailJob):
    """A mail from a template of the shop's own folder (EMAIL_TEMPLATE_DIR)."""

    task: ClassVar[str] = "email.template"
    prefix: ClassVar[str] = "email-template"

    template: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
    values: dict[str, JsonValue] = {}


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


class Sms(Job):
    """A text message to one number, in E.164: + and 7 to 15 digits, country first, nothing else."""

    task: ClassVar[str] = "sms.send"
    queue: ClassVar[str] = "sms"
    prefix: ClassVar[str] = "sms"

    to: Annotated[str, StringConstraints(pattern=r"^\+[1-9][0-9]{6,14}$")]
    text: Annotated[str, StringConstraints(min_length=1, max_length=1_600)]


def money(amount_minor: int, currency: str) -> str:
    """The amount as people write it: 12345, EUR -> '123.45 EUR'."""
    digits = digits_of(currency)
    if not digits:
        return f"{amount_minor:,} {currency}"
    whole, part = divmod(abs(amount_minor), 10**digits)
    return f"{'-' if amount_minor < 0 else ''}{whole:,}.{part:0{digits}d} {currency}"
