"""Attachments: decoded or read, named safely, and not larger than the settings allow."""

# ruff: noqa: PLC0415 - the orders' tables are needed for references only

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workerpool_worker.models import Attachment, EmailJob
from workerpool_worker.runtime.errors import InvalidJobError, TransientError

if TYPE_CHECKING:
    from workerpool_worker.runtime.context import JobContext

_LONGEST_NAME = 120
_FORBIDDEN = re.compile(r'[\\/:*?"<>|;]')


@dataclass(frozen=True, kw_only=True)
class File:
    """A file as it goes into a mail."""

    name: str
    content_type: str
    content: bytes


def files_of(context: JobContext, job: EmailJob) -> tuple[File, ...]:
    """The files of a mail.

    Raises:
        InvalidJobError: what was sent is not base64, or all together is too large.
        TransientError: an invoice is not there yet.
    """
    files = tuple(_file(context, attachment) for attachment in job.attachments)
    size, limit = sum(len(file.content) for file in files), context.settings.email_attachment_bytes
    if size > limit:
        raise InvalidJobError(f"attachments: {size} bytes, EMAIL_MAX_ATTACHMENT_BYTES is {limit}")
    return files


def safe_name(name: str) -> str:
    """The name without folders, control characters and what turns text around; never empty, never hidden.

    "invoice<U+202E>fdp.exe" looks like "invoiceexe.pdf" to people; such characters go, whatever they are for.
    """
    name = unicodedata.normalize("NFC", name).replace("\\", "/").rpartition("/")[2]
    # Cc, Cf: control and format characters; Cs: halves of characters; Zl, Zp: line ends; Cn, Co: nobody's characters.
    name = "".join(c for c in name if unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"})
    name = " ".join(_FORBIDDEN.sub("_", name).split()).strip(". ")
    stem, dot, ending = name.rpartition(".")
    if dot and len(name) > _LONGEST_NAME and len(ending) <= 10:  # noqa: PLR2004 - longer is no ending
        return f"{stem[: _LONGEST_NAME - len(ending) - 1]}.{ending}"
    return name[:_LONGEST_NAME] or "attachment"


def _file(context: JobContext, attachment: Attachment) -> File:
    if attachment.reference is not None:
        return _invoice(context, attachment, attachment.reference.partition(":")[2])
    try:
        content = base64.b64decode(attachment.content or "", validate=True)
    except (binascii.Error, ValueError):
        raise InvalidJobError(f"attachments: the content of {safe_name(attachment.filename)} is not base64") from None
    kind = attachment.content_type or "application/octet-stream"
    return File(name=safe_name(attachment.filename), content_type=kind, content=content)


def _invoice(context: JobContext, attachment: Attachment, order_id: str) -> File:
    from workerpool_worker.jobs.orders.invoices import read_invoice

    content = read_invoice(context.engine, order_id)
    if content is None:
        # A mail asked for before its order was taken in; the tries are bounded if there never is one.
        raise TransientError(f"attachments: there is no invoice of order {order_id} yet")
    name = safe_name(attachment.filename or f"invoice-{order_id}.pdf")
    return File(name=name, content_type=attachment.content_type or "application/pdf", content=content)
