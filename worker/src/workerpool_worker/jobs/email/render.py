"""A mail as a message: text and HTML from the templates, headers that let a receiver recognise a double."""

# ruff: noqa: PLC0415 - Jinja2 is not needed where a mail comes with its text

from __future__ import annotations

import functools
from dataclasses import dataclass
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any

from workerpool_worker.models import EmailJob, money
from workerpool_worker.runtime.errors import MailRefusedError

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a mail says."""

    subject: str
    text: str
    html: str | None


def render(template: str, subject: str, values: dict[str, Any]) -> Content:
    """Fill in a template of the package: `{template}.txt.j2` and `{template}.html.j2`."""
    environment = _environment()
    return Content(
        subject=subject,
        text=environment.get_template(f"{template}.txt.j2").render(values),
        html=environment.get_template(f"{template}.html.j2").render(values),
    )


def compose(job: EmailJob, content: Content, *, sender: str) -> EmailMessage:
    """The whole message. The same job gives the same Message-ID, so a receiver can drop a second copy.

    Raises:
        MailRefusedError: the recipient's address cannot be one.
    """
    message = EmailMessage()
    message["From"] = sender
    message["To"] = checked_address(job.to)
    message["Subject"] = content.subject
    message["Message-ID"] = f"<{job.job_id}@{sender.rpartition('@')[2]}>"
    message["X-Job-Id"] = job.job_id
    message["X-Business-Id"] = job.id
    # Vacation replies and mailing lists leave automatic mail alone (RFC 3834).
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(content.text)
    if content.html is not None:
        message.add_alternative(content.html, subtype="html")
    return message


def checked_address(text: str) -> str:
    """The address, if it is one bare `local@domain` in ASCII.

    Raises:
        MailRefusedError: it is not.
    """
    try:
        address = Address(addr_spec=text)
        text.encode("ascii")
    except (ValueError, IndexError, MessageError):
        raise MailRefusedError(f"{text!r} is not a mail address") from None
    labels = address.domain.split(".")
    if not address.username or not all(labels) or address.addr_spec != text:
        raise MailRefusedError(f"{text!r} is not a mail address")
    return text


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=PackageLoader("workerpool_worker.jobs.email"),
        # Escapes in *.html.j2, not in *.txt.j2.
        autoescape=select_autoescape(enabled_extensions=("html.j2",), default=False),
        # A value that is missing fails the job instead of sending "Hello ,".
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["money"] = money
    return environment
