"""An SMS provider of our own for demos and tests: what is sent is a row of `sandbox_sms`.

Numbers decide, in the manner of Twilio's test numbers: +15005550001 is no number, +15005550004 has opted out,
+15005550429 is asked too often, +15005550503 is away, +15005550504 gets the message but the answer is lost; any other
gets it. As with the real ones a request sent twice is a message sent twice, which the rows show.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import sqlalchemy as sa

from workerpool_worker.jobs.sms.provider import Receipt
from workerpool_worker.runtime.database import metadata
from workerpool_worker.runtime.errors import ProviderTimeoutError, RateLimitedError, SmsRefusedError, TransientError

_LOST_ANSWER = "+15005550504"
_REFUSED = {"+15005550001": "not a telephone number", "+15005550004": "has opted out"}

messages = sa.Table(
    "sandbox_sms",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("reference", sa.String(128), nullable=False, index=True),
    sa.Column("to", sa.String(20), nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
)


@dataclass(frozen=True)
class SandboxProvider:
    """Implements SmsProvider on an SQL table of its own."""

    engine: sa.Engine

    def send(self, *, to: str, text: str, reference: str) -> Receipt:
        """Keep the message, or do what its number asks for."""
        if reason := _REFUSED.get(to):
            raise SmsRefusedError(f"sandbox: {reason}")
        if to == "+15005550429":
            raise RateLimitedError("sandbox: too many requests", retry_after_s=1.0)
        if to == "+15005550503":
            raise TransientError("sandbox: not available")
        row = {"reference": reference, "to": to, "text": text, "at": time.time()}
        with self.engine.begin() as connection:
            number = connection.execute(messages.insert().values(row).returning(messages.c.id)).scalar_one()
        if to == _LOST_ANSWER:
            raise ProviderTimeoutError("sandbox: no answer; it may have been sent")
        return Receipt(id=f"sandbox-{number}")
