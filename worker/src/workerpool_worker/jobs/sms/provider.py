"""What the SMS job needs of a provider, and what keeps telephone numbers out of the logs."""

# ruff: noqa: PLC0415 - of the providers only the one of the settings is imported

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from workerpool_worker.runtime.context import JobContext

_NUMBER = re.compile(r"\+?\d(?:[\s().-]{0,2}\d){6,}")
_SHOWN_DIGITS = 3


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """The provider took the message; `id` is its own name for it, by which deliveries are reported."""

    id: str


class SmsProvider(Protocol):
    """A provider. None of them has idempotency keys: a request sent twice is a message sent twice."""

    def send(self, *, to: str, text: str, reference: str) -> Receipt:
        """Send a text message.

        Args:
            to: The number in E.164.
            text: What it says.
            reference: Our business id, where the provider can keep it.

        Raises:
            TransientError: not now, or something of the account is to be put right; nothing was sent.
            RateLimitedError: not so often; nothing was sent.
            ProviderTimeoutError: no answer; it may have been sent.
            SmsRefusedError: never to this number, or never this text.
        """


def provider_for(context: JobContext) -> SmsProvider:
    """The provider of the settings."""
    settings = context.settings
    if settings.sms_provider == "twilio":
        from workerpool_worker.jobs.sms.twilio import TwilioProvider

        return TwilioProvider(settings)
    if settings.sms_provider == "sns":
        from workerpool_worker.jobs.sms.sns import SnsProvider

        return SnsProvider(settings)
    from workerpool_worker.jobs.sms.sandbox import SandboxProvider

    return SandboxProvider(context.engine)


def masked(text: str) -> str:
    """The text with every telephone number in it cut down to its last digits."""
    return _NUMBER.sub(lambda found: f"…{re.sub(r'[^0-9]', '', found[0])[-_SHOWN_DIGITS:]}", text)
