"""A real SMTP server for the tests: it keeps what it is given and refuses whom it is told to."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest
from aiosmtpd.controller import Controller


@dataclass
class Mailbox:
    """Mails received, in order, and answers to give instead of accepting."""

    mails: list[EmailMessage] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    port: int = 0
    stall_s: float = 0.0
    """How long the server thinks about a recipient."""

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: list[str]
    ) -> str:
        await asyncio.sleep(self.stall_s)
        if address in self.answers:
            return self.answers[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        return "250 OK"

    def to(self, address: str) -> list[EmailMessage]:
        return [mail for mail in self.mails if mail["To"] == address]

    def ids(self) -> list[str]:
        return sorted(str(mail["X-Job-Id"]) for mail in self.mails)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """A mail server on a free loopback port."""
    box = Mailbox()
    controller = started(box)
    yield box
    controller.stop()


def started(box: Mailbox) -> Controller:
    for left in reversed(range(5)):
        box.port = free_port()
        controller = Controller(box, hostname="127.0.0.1", port=box.port, ready_timeout=20)
        try:
            controller.start()
        except OSError:
            # Somebody else took the port in between.
            if not left:
                raise
        else:
            return controller
    raise AssertionError("unreachable")
