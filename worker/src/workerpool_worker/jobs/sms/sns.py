"""Text messages through Amazon SNS: the action Publish with a telephone number, of the query API (2010-03-31).

SNS has no idempotency keys for it: a request sent twice is a message sent twice, and billed twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit
from xml.etree import ElementTree as ET

from workerpool_worker.jobs.sms.provider import Receipt, masked
from workerpool_worker.jobs.sms.sigv4 import Credentials, signed_headers
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

_LONGEST_ANSWER_BYTES = 65_536
# https://docs.aws.amazon.com/sns/latest/api/API_Publish.html and the common errors of the query API. Whatever else
# is said with 4xx is of the account (rights, keys, clock), to be put right while the job waits.
_TOO_OFTEN = frozenset({"Throttling", "ThrottlingException", "Throttled", "ThrottledException", "RequestThrottled"})
_REFUSED = frozenset({"InvalidParameter", "InvalidParameterValue", "ParameterValueInvalid", "ValidationError"})
_REFUSED_NUMBER = frozenset({"OptedOut", "OptedOutException", "EndpointDisabled", "UserError", "UserErrorException"})
_SUCCESS = 2  # hundred and something


@dataclass(frozen=True)
class SnsProvider:
    """Implements SmsProvider."""

    settings: Settings

    def send(self, *, to: str, text: str, reference: str) -> Receipt:  # noqa: ARG002 - SNS has no place for it
        """Hand the message to SNS; the receipt's id is its MessageId."""
        url = self.settings.sns_url or _endpoint(self.settings.aws_region)
        body = urlencode(self._fields(to, text)).encode()
        headers = signed_headers(
            Credentials(
                access_key_id=self.settings.aws_access_key_id,
                secret_access_key=self.settings.aws_secret_access_key,
                session_token=self.settings.aws_session_token,
            ),
            region=self.settings.aws_region,
            service="sns",
            headers={
                "Host": urlsplit(url).netloc.rpartition("@")[2],
                "Content-Type": "application/x-www-form-urlencoded; charset=utf-8",
            },
            body=body,
            now=datetime.now(UTC),
        )
        answer = http.request(
            "POST", f"{url}/", body=body, headers=headers, timeout_s=self.settings.sms_timeout_seconds
        )
        if answer.status // 100 != _SUCCESS:
            raise _refusal(answer)
        message_id = _text_of(answer, "MessageId")
        if not message_id:
            raise ProviderTimeoutError("Amazon SNS: an answer without a MessageId; it may have been sent")
        return Receipt(id=message_id)

    def _fields(self, to: str, text: str) -> dict[str, str]:
        fields = {"Action": "Publish", "Version": "2010-03-31", "PhoneNumber": to, "Message": text}
        attributes: dict[str, str] = {"AWS.SNS.SMS.SMSType": self.settings.sns_sms_type}
        if sender := self.settings.sms_from:
            # A number is one of the account's own; anything else is a name to show.
            attributes["AWS.MM.SMS.OriginationNumber" if sender.startswith("+") else "AWS.SNS.SMS.SenderID"] = sender
        for number, (name, value) in enumerate(attributes.items(), start=1):
            entry = f"MessageAttributes.entry.{number}"
            fields |= {f"{entry}.Name": name, f"{entry}.Value.DataType": "String", f"{entry}.Value.StringValue": value}
        return fields


def _endpoint(region: str) -> str:
    # China is a partition with a domain of its own.
    return f"https://sns.{region}.amazonaws.com" + (".cn" if region.startswith("cn-") else "")


def _refusal(answer: http.Answer) -> JobError:
    code = _text_of(answer, "Code")
    said = masked(f"Amazon SNS: {answer.status} {code} {_text_of(answer, 'Message')}".rstrip()[:500])
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS or code in _TOO_OFTEN:
        return RateLimitedError(said, retry_after_s=answer.retry_after_s())
    if answer.status == HTTPStatus.GATEWAY_TIMEOUT:
        return ProviderTimeoutError(f"{said}; it may have been sent")
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return TransientError(said, retry_after_s=answer.retry_after_s())
    if code in _REFUSED | _REFUSED_NUMBER:
        return SmsRefusedError(said)
    return TransientError(f"{said}; check the AWS_ settings and the right to sns:Publish")


def _text_of(answer: http.Answer, name: str) -> str:
    document = _document(answer.raw)
    # {*}: the namespace is that of the API's version.
    return "" if document is None else (document.findtext(f".//{{*}}{name}") or "").strip()


def _document(raw: bytes) -> ET.Element | None:
    # Our own endpoint over TLS, kept short, and without the declarations that make short documents large.
    if len(raw) > _LONGEST_ANSWER_BYTES or b"<!" in raw:
        return None
    try:
        return ET.fromstring(raw)  # noqa: S314 - see above
    except ET.ParseError:
        return None
