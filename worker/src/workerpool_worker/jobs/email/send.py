"""The email jobs. All of them: render, claim, send, commit.

The mail is rendered before the claim, so that between the server's "250 OK" and our commit there is nothing but the
commit. Dying just there sends the mail again; the Message-ID is the same both times.
"""

from __future__ import annotations

from workerpool_worker.jobs.email.render import Content, compose, render
from workerpool_worker.jobs.email.smtp import deliver
from workerpool_worker.models import (
    Email,
    EmailJob,
    OrderConfirmationEmail,
    PaymentReceiptEmail,
    ShippingNotificationEmail,
    WelcomeEmail,
)
from workerpool_worker.runtime.context import JobContext, Outcome
from workerpool_worker.runtime.uninterrupted import uninterrupted

TAKEOVER_AFTER_S = 30.0
"""How long a mail that somebody began to send is left to them, although their worker seems to be gone: no mail server
drops a double. Sending takes milliseconds; a worker on a node without a processor to spare, some seconds."""


def send_email(context: JobContext, job: Email) -> Outcome:
    """A mail whose text came with the job."""
    return _send(context, job, Content(subject=job.subject, text=job.text, html=job.html))


def send_welcome(context: JobContext, job: WelcomeEmail) -> Outcome:
    """Welcome a new customer."""
    return _send(context, job, render("welcome", f"Welcome, {_one_line(job.customer)}", job.arguments()))


def send_order_confirmation(context: JobContext, job: OrderConfirmationEmail) -> Outcome:
    """Confirm an order."""
    values = {**job.arguments(), "lines": job.lines}
    return _send(context, job, render("order_confirmation", f"Your order {job.id}", values))


def send_shipping_notification(context: JobContext, job: ShippingNotificationEmail) -> Outcome:
    """Tell that a parcel left."""
    return _send(context, job, render("shipping_notification", f"Your order {job.id} is on its way", job.arguments()))


def send_payment_receipt(context: JobContext, job: PaymentReceiptEmail) -> Outcome:
    """Confirm a charge."""
    return _send(context, job, render("payment_receipt", f"Receipt for payment {job.id}", job.arguments()))


def _send(context: JobContext, job: EmailJob, content: Content) -> Outcome:
    message = compose(job, content, sender=context.settings.mail_from)
    with context.effect(f"email:{job.job_id}", job.arguments(), takeover_after_s=TAKEOVER_AFTER_S) as claimed:
        if claimed.already_done:
            return {"outcome": "sent", "repeated": True}
        with uninterrupted():
            deliver(message, context.settings)
            return claimed.done({"outcome": "sent", "message_id": str(message["Message-ID"])})


def _one_line(text: str) -> str:
    return " ".join(text.split())
