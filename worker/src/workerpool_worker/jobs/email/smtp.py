"""SMTP, with one connection a process kept open between mails."""

from __future__ import annotations

import os
import smtplib
import ssl
from email.message import EmailMessage
from typing import TYPE_CHECKING

from workerpool_worker.runtime.errors import MailRefusedError, MailServerError

if TYPE_CHECKING:
    from workerpool_worker.settings import Settings

_OK = 250
_PERMANENT = 500
_open: dict[tuple[int, str, int, str], smtplib.SMTP] = {}


def deliver(message: EmailMessage, settings: Settings) -> None:
    """Hand the mail to the server.

    Raises:
        MailServerError: the server is away or said "not now".
        MailRefusedError: the server will never take it.
    """
    try:
        client = _client(settings)
        client.send_message(message)
    except smtplib.SMTPRecipientsRefused as error:
        code, text = next(iter(error.recipients.values()))
        raise _refusal(code, text) from error
    except smtplib.SMTPAuthenticationError as error:
        # A wrong password can be put right while the job waits.
        _forget(settings)
        raise MailServerError(f"{_place(settings)}: login refused ({error.smtp_code})") from error
    except smtplib.SMTPResponseException as error:
        _forget(settings)
        raise _refusal(error.smtp_code, error.smtp_error) from error
    except smtplib.SMTPNotSupportedError as error:
        _forget(settings)
        raise MailServerError(f"{_place(settings)}: {error}") from error
    except (smtplib.SMTPException, OSError) as error:
        _forget(settings)
        raise MailServerError(f"{_place(settings)}: {error}") from error


def _client(settings: Settings) -> smtplib.SMTP:
    # The process id: a connection must not be shared with the parent it was inherited from.
    key = (os.getpid(), settings.smtp_host, settings.smtp_port, settings.smtp_tls)
    known = _open.get(key)
    if known is not None:
        if _alive(known):
            return known
        _forget(settings)
    _open[key] = _connect(settings)
    return _open[key]


def _connect(settings: Settings) -> smtplib.SMTP:
    host, port, timeout = settings.smtp_host, settings.smtp_port, settings.smtp_timeout_seconds
    context = ssl.create_default_context() if settings.smtp_tls != "none" else None
    if settings.smtp_tls == "implicit":
        client: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=timeout, context=context)
    else:
        client = smtplib.SMTP(host, port, timeout=timeout)
    try:
        if settings.smtp_tls == "starttls":
            client.starttls(context=context)
        if settings.smtp_username:
            client.login(settings.smtp_username, settings.smtp_password)
    except BaseException:
        client.close()
        raise
    return client


def _alive(client: smtplib.SMTP) -> bool:
    # Servers hang up on idle clients; asking first keeps a dead connection from failing a mail.
    try:
        return client.noop()[0] == _OK
    except (smtplib.SMTPException, OSError):
        return False


def _forget(settings: Settings) -> None:
    client = _open.pop((os.getpid(), settings.smtp_host, settings.smtp_port, settings.smtp_tls), None)
    if client is not None:
        client.close()


def _refusal(code: int, text: bytes | str) -> MailServerError | MailRefusedError:
    said = f"{code} {text.decode(errors='replace') if isinstance(text, bytes) else text}"
    return MailRefusedError(said) if code >= _PERMANENT else MailServerError(said)


def _place(settings: Settings) -> str:
    return f"mail server {settings.smtp_host}:{settings.smtp_port}"
