"""A real SMTP server (aiosmtpd) that can demand STARTTLS or a login, and says what it is told to say."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from tests.support.smtp import free_port
from workerpool_worker.jobs.email import smtp

USER, PASSWORD = "shop", "pass word"


@dataclass
class PostOffice:
    """What came in, over how many connections; `says` are answers to give instead, by command, one after another."""

    mails: list[EmailMessage] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    senders: list[str] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    connections: set[Any] = field(default_factory=set)
    encrypted: list[bool] = field(default_factory=list)
    says: dict[str, list[str]] = field(default_factory=dict)
    silent_s: float = 0.0
    port: int = 0

    def _said(self, command: str) -> str | None:
        left = self.says.get(command)
        return left.pop(0) if left else None

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's name
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        self.connections.add(session.peer)
        self.encrypted.append(server.transport.get_extra_info("ssl_object") is not None)
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return self._said("MAIL") or "250 OK"

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: list[str]
    ) -> str:
        said = self._said("RCPT")
        if said is None:
            envelope.rcpt_tos.append(address)
        return said or "250 OK"

    async def handle_NOOP(  # noqa: N802 - aiosmtpd's name
        self, _server: Any, _session: Any, _envelope: Any, _argument: str
    ) -> str:
        return self._said("NOOP") or "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        said = self._said("DATA")
        if said is None:
            self.raw.append(envelope.original_content)
            self.mails.append(message_from_bytes(envelope.original_content, policy=policy.default))
            self.senders.append(envelope.mail_from)
            self.recipients.extend(envelope.rcpt_tos)
        await asyncio.sleep(self.silent_s)
        return said or "250 OK"


@contextmanager
def open_office(
    *, tls: str = "none", name: str = "127.0.0.1", ca: trustme.CA | None = None, login: bool = False
) -> Iterator[PostOffice]:
    """Serve on a loopback port.

    Args:
        tls: As in SMTP_TLS.
        name: Whose certificate is shown.
        ca: Who issued it.
        login: Whether a login is demanded.
    """
    office = PostOffice(port=free_port())
    more: dict[str, Any] = {}
    if tls != "none":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        (ca or trustme.CA()).issue_cert(name).configure_cert(context)
        more = {"ssl_context": context} if tls == "implicit" else {"tls_context": context, "require_starttls": True}
    if login:
        more |= {"authenticator": _check, "auth_required": True, "auth_require_tls": tls == "starttls"}
    controller = Controller(office, hostname="127.0.0.1", port=office.port, ready_timeout=30, **more)
    controller.start()
    try:
        yield office
    finally:
        hang_up()
        controller.stop()


def hang_up() -> None:
    """Close what the client keeps open in this process."""
    for kept in smtp._connections.values():
        kept.client.close()
    smtp._connections.clear()


def ca_file(ca: trustme.CA, folder: Path) -> str:
    path = folder / "ca.pem"
    ca.cert_pem.write_to_path(path)
    return str(path)


def _check(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=right, handled=False)
