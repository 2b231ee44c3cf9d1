"""Mail addresses: refused before anything is sent where no server could ever deliver to them."""

from __future__ import annotations

from email_validator import EmailNotValidError, validate_email

from workerpool_worker.runtime.errors import MailRefusedError


def checked_address(text: str) -> str:
    """The address as it is written on the wire: one bare `local@domain`, an international domain in its ASCII form.

    No DNS is asked: a look-up that fails says nothing about an address, and a mail server asks anyway. Letters
    beyond ASCII before the @ need SMTPUTF8 on every server on the way; they are refused.

    Raises:
        MailRefusedError: it is none.
    """
    try:
        found = validate_email(text, check_deliverability=False, allow_smtputf8=False, strict=True)
    except EmailNotValidError as error:
        raise MailRefusedError(f"{text!r} is not a mail address: {error}") from None
    return found.ascii_email or found.normalized
