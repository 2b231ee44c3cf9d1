"""A mail as all transports take it: checked before anything is sent, with the same ids for the same job every time."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import EmailPolicy
from typing import TYPE_CHECKING

from workerpool_worker.jobs.email.addresses import checked_address
from workerpool_worker.jobs.email.attachments import File
from workerpool_worker.jobs.email.render import Content
from workerpool_worker.models import EmailJob
from workerpool_worker.runtime.errors import MailRefusedError

if TYPE_CHECKING:
    from workerpool_worker.settings import Settings

_AS_THEY_ARE = frozenset({"to", "reply-to", "message-id", "x-job-id", "x-business-id"})


class _Policy(EmailPolicy):
    """How a mail is written. Headers without a space to fold at stay whole: Python would make encoded words of them."""

    def fold_binary(self, name: str, value: str) -> bytes:
        """The header as it goes over the wire."""
        if name.lower() in _AS_THEY_ARE:
            return f"{name}: {value}\r\n".encode("ascii")
        return super().fold_binary(name, value)


# 7bit: text that needs more is encoded, so a server without 8BITMIME gets nothing it does not take.
# 76: an encoded word and the space before it (RFC 2047).
_POLICY = _Policy(linesep="\r\n", cte_type="7bit", max_line_length=76)


@dataclass(frozen=True, kw_only=True)
class Mail:
    """One mail to one person."""

    job_id: str
    business_id: str
    message_id: str
    sender: str
    sender_name: str
    reply_to: str
    to: str
    content: Content
    files: tuple[File, ...] = ()

    @property
    def headers(self) -> dict[str, str]:
        """The headers of our own, for every transport."""
        return {
            # A receiver can drop a second copy by it.
            "Message-ID": self.message_id,
            "X-Job-Id": self.job_id,
            "X-Business-Id": self.business_id,
            # Vacation replies and mailing lists leave automatic mail alone (RFC 3834).
            "Auto-Submitted": "auto-generated",
        }


def mail_of(job: EmailJob, content: Content, files: tuple[File, ...], settings: Settings) -> Mail:
    """The mail of a job.

    Raises:
        MailRefusedError: the recipient's address cannot be one.
    """
    return Mail(
        job_id=job.job_id,
        business_id=job.id,
        message_id=f"<{job.job_id}@{settings.mail_from.rpartition('@')[2]}>",
        sender=settings.mail_from,
        sender_name=settings.mail_from_name,
        reply_to=settings.mail_reply_to,
        to=checked_address(job.to),
        content=Content(subject=one_line(content.subject), text=content.text, html=content.html),
        files=files,
    )


def compose(mail: Mail) -> EmailMessage:
    """The mail as a MIME message.

    Raises:
        MailRefusedError: it holds what no mail can, such as half a character.
    """
    try:
        return _compose(mail)
    except ValueError as error:
        raise MailRefusedError(f"cannot be written as a mail: {error}") from error


def as_bytes(message: EmailMessage) -> bytes:
    """The message as it goes over the wire."""
    return message.as_bytes(policy=_POLICY)


def one_line(text: str) -> str:
    """The text fit for a header: without line ends and other control characters, however they are written."""
    return " ".join("".join(" " if unicodedata.category(c) in {"Cc", "Zl", "Zp"} else c for c in text).split())


def _compose(mail: Mail) -> EmailMessage:
    message = EmailMessage(policy=_POLICY)
    message["From"] = Address(mail.sender_name, addr_spec=mail.sender)
    message["To"] = mail.to
    if mail.reply_to:
        message["Reply-To"] = mail.reply_to
    message["Subject"] = mail.content.subject
    message["Date"] = datetime.now(UTC)
    for name, value in mail.headers.items():
        message[name] = value
    message.set_content(mail.content.text)
    if mail.content.html is not None:
        message.add_alternative(mail.content.html, subtype="html")
    for file in mail.files:
        kind, _, subtype = file.content_type.partition("/")
        message.add_attachment(file.content, maintype=kind, subtype=subtype, filename=file.name)
    return message
