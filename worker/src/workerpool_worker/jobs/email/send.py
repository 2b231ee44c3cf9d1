"""The email jobs. All of them: render, read the attachments, claim, connect, send, commit.

Everything that can be done before the claim is, and the connection is made before the stretch that nothing may
interrupt, so that between the server's "250 OK" and our commit there is nothing but the commit. Dying just there
sends the mail again; the Message-ID is the same both times.
"""

from __future__ import annotations

from typing import Any

from workerpool_worker.jobs.email.attachments import files_of
from workerpool_worker.jobs.email.mail import mail_of
from workerpool_worker.jobs.email.render import Content, render
from workerpool_worker.jobs.email.transport import transport_for
from workerpool_worker.models import (
    Email,
    EmailJob,
    OrderConfirmationEmail,
    PaymentReceiptEmail,
    ShippingNotificationEmail,
    TemplateEmail,
    WelcomeEmail,
)
from workerpool_worker.runtime.context import JobContext, Outcome
from workerpool_worker.runtime.idempotency import LEFT_ALONE_S
from workerpool_worker.runtime.uninterrupted import uninterrupted


def send_email(context: JobContext, job: Email) -> Outcome:
    """A mail whose text came with the job."""
    return _send(context, job, Content(subject=job.subject, text=job.text, html=job.html))


def send_template(context: JobContext, job: TemplateEmail) -> Outcome:
    """A mail from a template of the shop's own."""
    return _from_template(context, job, job.template, {**job.values, "id": job.id, "to": job.to})


def send_welcome(context: JobContext, job: WelcomeEmail) -> Outcome:
    """Welcome a new customer."""
    return _from_template(context, job, "welcome", job.arguments())


def send_order_confirmation(context: JobContext, job: OrderConfirmationEmail) -> Outcome:
    """Confirm an order."""
    lines = [{**line.model_dump(), "net_minor": line.net_minor} for line in job.lines]
    return _from_template(context, job, "order_confirmation", {**job.arguments(), "lines": lines})


def send_shipping_notification(context: JobContext, job: ShippingNotificationEmail) -> Outcome:
    """Tell that a parcel left."""
    return _from_template(context, job, "shipping_notification", job.arguments())


def send_payment_receipt(context: JobContext, job: PaymentReceiptEmail) -> Outcome:
    """Confirm a charge."""
    return _from_template(context, job, "payment_receipt", job.arguments())


def _from_template(context: JobContext, job: EmailJob, template: str, values: dict[str, Any]) -> Outcome:
    return _send(context, job, render(template, values, context.settings.email_template_dir))


def _send(context: JobContext, job: EmailJob, content: Content) -> Outcome:
    mail = mail_of(job, content, files_of(context, job), context.settings)
    transport = transport_for(context.settings)
    with context.effect(f"email:{job.job_id}", job.arguments(), takeover_after_s=LEFT_ALONE_S) as claimed:
        if claimed.already_done:
            return {"outcome": "sent", "repeated": True}
        transport.prepare()
        with uninterrupted():
            theirs = transport.send(mail)
            result = {"outcome": "sent", "message_id": mail.message_id}
            return claimed.done(result if theirs is None else result | {"provider_id": theirs})
