"""The demo's mail server: a real SMTP server on loopback that keeps every mail it is given as a file."""

from __future__ import annotations

import asyncio
import email
from collections import Counter
from email import policy
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiosmtpd.smtp import SMTP, Envelope, Session


class Mailbox:
    """Receives mails into a folder, one ``.eml`` file each, and counts them by Message-ID.

    Every mail counts, the second copy of one too: that is how a mail sent twice is found.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server: asyncio.Server | None = None
        self._received: Counter[str] = Counter()

    @property
    def port(self) -> int:
        """Where it listens on loopback, 0 before it was started."""
        return int(self._server.sockets[0].getsockname()[1]) if self._server else 0

    def counts(self) -> Counter[str]:
        """How many mails came in with each Message-ID."""
        return self._received.copy()

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        """Take a mail: on disk first, then counted, then acknowledged."""
        content: Any = envelope.content or b""
        message = email.message_from_bytes(content, policy=policy.default)
        name = f"{self._received.total() + 1:04d}-{message['X-Job-Id'] or 'mail'}.eml"
        (self._folder / name).write_bytes(content)
        self._received[str(message["Message-ID"] or "no Message-ID")] += 1
        return "250 Message accepted for delivery"

    async def __aenter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: SMTP(self, loop=loop, enable_SMTPUTF8=True), "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
