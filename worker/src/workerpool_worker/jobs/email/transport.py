"""What the mail jobs need of whoever takes the mail."""

# ruff: noqa: PLC0415 - of the transports only the one of the settings is imported

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from workerpool_worker.jobs.email.mail import Mail

if TYPE_CHECKING:
    from workerpool_worker.settings import Settings


class MailTransport(Protocol):
    """Takes mails, one at a time."""

    def prepare(self) -> None:
        """Do beforehand what takes long and may be cut off, such as connecting.

        Raises:
            MailServerError: it cannot be used at the moment.
        """

    def send(self, mail: Mail) -> str | None:
        """Hand the mail over; the other side's own id for it, where it gives one.

        Raises:
            MailServerError: not now.
            RateLimitedError: not so often.
            ProviderTimeoutError: no answer; the mail may have been taken.
            MailRefusedError: never.
        """


def transport_for(settings: Settings) -> MailTransport:
    """The transport of the settings."""
    if settings.email_transport == "sendgrid":
        from workerpool_worker.jobs.email.sendgrid import SendGridTransport

        return SendGridTransport(settings)
    from workerpool_worker.jobs.email.smtp import SmtpTransport

    return SmtpTransport(settings)
