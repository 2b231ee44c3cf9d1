"""Mail through SendGrid's v3 API (POST /v3/mail/send).

SendGrid has no idempotency keys: a request sent twice is a mail sent twice. Our ids go along as `custom_args`, which
come back in every event, and as headers.
"""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from workerpool_worker.jobs.email.mail import Mail
from workerpool_worker.runtime import http
from workerpool_worker.runtime.errors import (
    JobError,
    MailRefusedError,
    MailServerError,
    ProviderTimeoutError,
    RateLimitedError,
)

if TYPE_CHECKING:
    from workerpool_worker.settings import Settings

# Of the account, not of the mail; it can be put right while the job waits. 403 is also "too many bad requests".
_ACCOUNT = frozenset({401, 402, 403, 407, 408, 451})
_SUCCESS = 2  # hundred and something


@dataclass(frozen=True)
class SendGridTransport:
    """Implements MailTransport with one request a mail."""

    settings: Settings

    def prepare(self) -> None:
        """Nothing to do: the connection is opened, or used again, by the request."""

    def send(self, mail: Mail) -> str | None:
        """Hand the mail to SendGrid; its X-Message-Id."""
        answer = http.request(
            "POST",
            f"{self.settings.sendgrid_url}/v3/mail/send",
            body=_body(mail),
            headers={
                "Authorization": f"Bearer {self.settings.sendgrid_api_key}",
                "Content-Type": "application/json",
                "Accept": "application/json",
            },
            timeout_s=self.settings.sendgrid_timeout_seconds,
        )
        if answer.status // 100 == _SUCCESS:
            return answer.headers.get("X-Message-Id")
        raise _refusal(answer, now_s=time.time())


def payload(mail: Mail) -> dict[str, Any]:
    """The request's JSON."""
    body: dict[str, Any] = {
        "personalizations": [{"to": [{"email": mail.to}]}],
        "from": {"email": mail.sender} | ({"name": mail.sender_name} if mail.sender_name else {}),
        "subject": mail.content.subject,
        # Plain text has to come first.
        "content": [{"type": "text/plain", "value": mail.content.text}],
        "headers": mail.headers,
        "custom_args": {"job_id": mail.job_id, "business_id": mail.business_id},
    }
    if mail.content.html is not None:
        body["content"].append({"type": "text/html", "value": mail.content.html})
    if mail.reply_to:
        body["reply_to"] = {"email": mail.reply_to}
    if mail.files:
        body["attachments"] = [
            {
                "content": base64.b64encode(file.content).decode(),
                "type": file.content_type,
                "filename": file.name,
                "disposition": "attachment",
            }
            for file in mail.files
        ]
    return body


def _body(mail: Mail) -> bytes:
    try:
        return json.dumps(payload(mail), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise MailRefusedError(f"cannot be written as a mail: {error}") from error


def _refusal(answer: http.Answer, *, now_s: float) -> JobError:
    said = f"SendGrid: {answer.status} {_errors(answer)}".rstrip()
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimitedError(said, retry_after_s=_reset_s(answer, now_s))
    if answer.status == HTTPStatus.GATEWAY_TIMEOUT:
        return ProviderTimeoutError(f"{said}; it may have been done")
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status in _ACCOUNT:
        return MailServerError(said, retry_after_s=answer.retry_after_s())
    if answer.status < HTTPStatus.BAD_REQUEST:
        # A redirect: SENDGRID_URL is not that of the API.
        return MailServerError(f"{said}; check SENDGRID_URL")
    return MailRefusedError(said)


def _errors(answer: http.Answer) -> str:
    errors = answer.body.get("errors") if isinstance(answer.body, dict) else None
    if not isinstance(errors, list):
        return ""
    return "; ".join(
        f"{error.get('field') or ''} {error.get('message')}".strip() for error in errors[:3] if isinstance(error, dict)
    )[:500]


def _reset_s(answer: http.Answer, now_s: float) -> float | None:
    after = answer.retry_after_s()
    reset = answer.headers.get("X-RateLimit-Reset", "")
    # Unix time in seconds at which the count begins anew.
    return after if after is not None or not reset.isdigit() else min(max(int(reset) - now_s, 0.0), 86_400.0)
