"""A real mail server that counts, refuses one domain for good, and now and then asks to come back later."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from email.parser import BytesHeaderParser
from typing import Any

from aiosmtpd.controller import Controller

from tests.support.smtp import free_port
from tests.torture.plan import REFUSED_DOMAIN


class Post:
    """What came in: how many mails of each job, by Message-ID too."""

    def __init__(self, seed: int, *, later: float) -> None:
        self._dice = random.Random(seed)
        self._later = later
        self._parser = BytesHeaderParser()
        self.port = free_port()
        self.by_job: Counter[str] = Counter()
        self.by_message_id: Counter[str] = Counter()
        self.sent_back = 0

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: list[str]
    ) -> str:
        """Take a recipient, or not."""
        if address.endswith(REFUSED_DOMAIN):
            return "550 5.1.1 no such mailbox"
        if self._dice.random() < self._later:
            self.sent_back += 1
            return "451 4.3.2 come back later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        """Take a mail."""
        headers = self._parser.parsebytes(envelope.content)
        self.by_job[headers["X-Job-Id"]] += 1
        self.by_message_id[headers["Message-ID"]] += 1
        return "250 OK"

    @property
    def taken(self) -> int:
        """Mails taken so far."""
        return sum(self.by_job.values())

    @property
    def doubles(self) -> int:
        """Mails that came again."""
        return sum(count - 1 for count in self.by_message_id.values())


@contextmanager
def post_office(seed: int, *, later: float = 0.01) -> Iterator[Post]:
    """Serve on a loopback port."""
    post = Post(seed, later=later)
    controller = Controller(post, hostname="127.0.0.1", port=post.port, ready_timeout=30)
    controller.start()
    try:
        yield post
    finally:
        controller.stop()
