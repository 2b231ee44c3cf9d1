"""SMTP, with one connection a process kept open between mails.

What a server says is classed (RFC 5321, RFC 3463):
    cannot connect, wrong certificate, login refused, 4xx, 421   MailServerError: someone can put it right meanwhile
    552 with a full mailbox, a refused sender                    MailServerError, for the same reason
    any other 5xx of recipient or content                        MailRefusedError: it will never be taken
    silence after the whole mail was sent                        ProviderTimeoutError: it may have been taken
"""

from __future__ import annotations

import os
import re
import smtplib
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workerpool_worker.jobs.email.mail import Mail, as_bytes, compose
from workerpool_worker.runtime.errors import JobError, MailRefusedError, MailServerError, ProviderTimeoutError

if TYPE_CHECKING:
    from workerpool_worker.settings import Settings

_OK = 250
_GO_ON = 354
_CLOSING = 421
_PERMANENT = 500
_TOO_MUCH = 552
# "Must issue STARTTLS first", "authentication required" and the like: of our settings, not of the mail.
_SETTINGS = frozenset({530, 534, 535, 538})
_TOO_LARGE = re.compile(r"\b5\.(?:2\.3|3\.4)\b")
_Key = tuple[int, str, int, str, str]


@dataclass
class _Open:
    client: smtplib.SMTP
    used_at_s: float
    mails: int = 0


_connections: dict[_Key, _Open] = {}


@dataclass(frozen=True)
class SmtpTransport:
    """Implements MailTransport."""

    settings: Settings

    def prepare(self) -> None:
        """See to it that there is a connection that works."""
        kept = _connections.get(self._key)
        if kept is not None and self._usable(kept):
            return
        self._leave()
        try:
            client = self._connect()
        except ssl.SSLCertVerificationError as error:
            raise MailServerError(
                f"{self._place}: its certificate is not trusted ({error.verify_message}); "
                "check SMTP_HOST and SMTP_CA_FILE"
            ) from error
        except smtplib.SMTPAuthenticationError as error:
            raise MailServerError(f"{self._place}: login refused ({error.smtp_code})") from error
        except smtplib.SMTPResponseException as error:
            raise MailServerError(f"{self._place}: {error.smtp_code} {_text(error.smtp_error)}") from error
        except (smtplib.SMTPException, OSError) as error:
            raise MailServerError(f"{self._place}: {error}") from error
        _connections[self._key] = _Open(client, time.monotonic())

    def send(self, mail: Mail) -> None:
        """Hand the mail to the server."""
        content = as_bytes(compose(mail))
        if self._key not in _connections:
            self.prepare()
        kept = _connections[self._key]
        try:
            _transact(kept.client, mail.sender, mail.to, content)
        except smtplib.SMTPException as error:
            self._forget()
            raise MailServerError(f"{self._place}: {error}") from error
        except MailRefusedError:
            # The server is well; only this mail is not. What it remembers of it is dropped before the next.
            if not _answers_well(kept.client, "RSET"):
                self._forget()
            raise
        except BaseException:
            self._forget()
            raise
        kept.mails += 1
        kept.used_at_s = time.monotonic()

    @property
    def _key(self) -> _Key:
        # The process id: a connection must not be shared with the parent it was inherited from.
        settings = self.settings
        return (os.getpid(), settings.smtp_host, settings.smtp_port, settings.smtp_tls, settings.smtp_username)

    @property
    def _place(self) -> str:
        return f"mail server {self.settings.smtp_host}:{self.settings.smtp_port}"

    def _usable(self, kept: _Open) -> bool:
        if kept.mails >= self.settings.smtp_mails_per_connection:
            return False
        if time.monotonic() - kept.used_at_s > self.settings.smtp_idle_seconds:
            return False
        try:
            # Servers hang up on idle clients; asking first keeps a dead connection from failing a mail.
            return _answers_well(kept.client, "NOOP")
        except BaseException:
            # Cut off by a time limit: the answer to this would be taken for the answer to the next command.
            self._forget()
            raise

    def _connect(self) -> smtplib.SMTP:
        settings = self.settings
        place, timeout = (settings.smtp_host, settings.smtp_port), settings.smtp_timeout_seconds
        context = ssl.create_default_context(cafile=settings.smtp_ca_file) if settings.smtp_tls != "none" else None
        if settings.smtp_tls == "implicit":
            client: smtplib.SMTP = smtplib.SMTP_SSL(*place, timeout=timeout, context=context)
        else:
            client = smtplib.SMTP(*place, timeout=timeout)
        try:
            if settings.smtp_tls == "starttls":
                client.starttls(context=context)
            client.ehlo_or_helo_if_needed()
            if settings.smtp_username:
                client.login(settings.smtp_username, settings.smtp_password)
        except BaseException:
            client.close()
            raise
        return client

    def _leave(self) -> None:
        kept = _connections.get(self._key)
        if kept is not None:
            with suppress(smtplib.SMTPException, OSError):
                # Said, not waited for.
                kept.client.putcmd("QUIT")
        self._forget()

    def _forget(self) -> None:
        kept = _connections.pop(self._key, None)
        if kept is not None:
            kept.client.close()


def _transact(client: smtplib.SMTP, sender: str, recipient: str, content: bytes) -> None:
    size = [f"size={len(content)}"] if client.has_extn("size") else []
    _expect(client.mail(sender, size), "MAIL FROM", _OK)
    # 251: it will forward.
    _expect(client.rcpt(recipient), "RCPT TO", _OK, 251)
    _expect(client.docmd("DATA"), "DATA", _GO_ON)
    # A line of one dot ends a mail, so a dot that begins a line is doubled (RFC 5321, 4.5.2).
    client.send(re.sub(rb"(?m)^\.", b"..", content) + b".\r\n")
    try:
        answer = client.getreply()
    except smtplib.SMTPServerDisconnected as error:
        raise ProviderTimeoutError(f"mail server: no answer to the mail ({error}); it may have been taken") from error
    _expect(answer, "the mail", _OK)


def _expect(answer: tuple[int, bytes], step: str, *codes: int) -> None:
    if answer[0] not in codes:
        raise _refusal(answer[0], _text(answer[1]), step)


def _refusal(code: int, text: str, step: str) -> JobError:
    said = f"{step}: {code} {text}"
    if code < _PERMANENT or code in _SETTINGS:
        return MailServerError(said)
    too_large = code == _TOO_MUCH and (step == "MAIL FROM" or _TOO_LARGE.search(text))
    if too_large:
        return MailRefusedError(said)
    if code == _TOO_MUCH:
        return MailServerError(f"{said} (the mailbox is full)")
    if step == "MAIL FROM":
        return MailServerError(f"{said} (check MAIL_FROM)")
    return MailRefusedError(said)


def _answers_well(client: smtplib.SMTP, command: str) -> bool:
    try:
        return client.docmd(command)[0] == _OK
    except (smtplib.SMTPException, OSError):
        return False


def _text(said: bytes | str) -> str:
    text = said.decode(errors="replace") if isinstance(said, bytes) else said
    return " ".join(text.split())[:500]
