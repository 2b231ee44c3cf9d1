"""Text messages through Twilio's Messages API (POST /2010-04-01/Accounts/{AccountSid}/Messages.json).

Twilio has no idempotency keys for it: a request sent twice is a message sent twice, and billed twice.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from workerpool_worker.jobs.sms.provider import Receipt, masked
from workerpool_worker.runtime import http
from workerpool_worker.runtime.errors import (
    JobError,
    ProviderTimeoutError,
    RateLimitedError,
    SmsRefusedError,
    TransientError,
)

if TYPE_CHECKING:
    from workerpool_worker.settings import Settings

# https://www.twilio.com/docs/api/errors: too many requests; a sender's queue is full.
_TOO_OFTEN = frozenset({20429, 14107, 21611})
# The account or its sender: to be put right while the job waits. 20003 login, 20005 account not active, 20006 access
# denied, 20008 test credentials, 21212 and 21606 and 21659 sender, 21603 no sender, 21701..21704 messaging service,
# 30002 account suspended.
_ACCOUNT = frozenset({20003, 20005, 20006, 20008, 21212, 21603, 21606, 21659, 21701, 21702, 21703, 21704, 30002})
_SAYS_ACCOUNT = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND})
_SUCCESS = 2  # hundred and something


@dataclass(frozen=True)
class TwilioProvider:
    """Implements SmsProvider."""

    settings: Settings

    def send(self, *, to: str, text: str, reference: str) -> Receipt:  # noqa: ARG002 - Twilio has no place for it
        """Hand the message to Twilio; the receipt's id is the message's SID."""
        settings = self.settings
        fields = {"To": to, "Body": text}
        if settings.twilio_messaging_service_sid:
            fields["MessagingServiceSid"] = settings.twilio_messaging_service_sid
        if settings.sms_from:
            fields["From"] = settings.sms_from
        if settings.twilio_status_callback_url:
            fields["StatusCallback"] = settings.twilio_status_callback_url
        answer = http.request(
            "POST",
            f"{settings.twilio_url}/2010-04-01/Accounts/{settings.twilio_account_sid}/Messages.json",
            body=urlencode(fields).encode(),
            headers={
                "Authorization": f"Basic {self._login()}",
                "Content-Type": "application/x-www-form-urlencoded",
                "Accept": "application/json",
            },
            timeout_s=settings.sms_timeout_seconds,
        )
        if answer.status // 100 != _SUCCESS:
            raise _refusal(answer)
        sid = answer.body.get("sid") if isinstance(answer.body, dict) else None
        if not isinstance(sid, str):
            raise ProviderTimeoutError("Twilio: an answer without a message SID; it may have been sent")
        return Receipt(id=sid)

    def _login(self) -> str:
        settings = self.settings
        user, password = settings.twilio_account_sid, settings.twilio_auth_token
        if settings.twilio_api_key:
            user, password = settings.twilio_api_key, settings.twilio_api_secret
        return base64.b64encode(f"{user}:{password}".encode()).decode()


def _refusal(answer: http.Answer) -> JobError:
    body = answer.body if isinstance(answer.body, dict) else {}
    code = body.get("code")
    # Twilio repeats the number in its message.
    said = masked(f"Twilio: {answer.status} {body.get('message') or ''}".rstrip()[:500]) + f" (error {code})" * bool(
        code
    )
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS or code in _TOO_OFTEN:
        return RateLimitedError(said, retry_after_s=answer.retry_after_s())
    if answer.status == HTTPStatus.GATEWAY_TIMEOUT:
        return ProviderTimeoutError(f"{said}; it may have been sent")
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status == HTTPStatus.REQUEST_TIMEOUT:
        return TransientError(said, retry_after_s=answer.retry_after_s())
    if code in _ACCOUNT or answer.status in _SAYS_ACCOUNT or answer.status < HTTPStatus.BAD_REQUEST:
        return TransientError(f"{said}; check the TWILIO_ settings and SMS_FROM")
    return SmsRefusedError(said)
