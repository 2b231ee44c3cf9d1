"""Stages on which every SMS provider plays the same parts.

Twilio and Amazon SNS answer in the shapes of their public API documentation (Twilio: Message resource and error
dictionary; SNS: Publish and the query API's errors); neither was asked itself. SNS is also held to moto's server.
"""

from __future__ import annotations

import base64
import json
from abc import ABC, abstractmethod
from typing import ClassVar, Literal
from urllib.parse import parse_qsl

import sqlalchemy as sa

from tests.support.providers.scripted_http import Reply, ScriptedServer, Seen
from workerpool_worker.jobs.sms import sandbox
from workerpool_worker.jobs.sms.provider import SmsProvider
from workerpool_worker.jobs.sms.sns import SnsProvider
from workerpool_worker.jobs.sms.twilio import TwilioProvider
from workerpool_worker.settings import load_settings

Part = Literal["taken", "invalid", "opted_out", "too_often", "away", "lost"]
SID, TOKEN = "AC" + "0" * 32, "token-of-a-test"
TWILIO = {"SMS_PROVIDER": "twilio", "TWILIO_ACCOUNT_SID": SID, "TWILIO_AUTH_TOKEN": TOKEN, "SMS_FROM": "+15005550006"}
SNS = {
    "SMS_PROVIDER": "sns",
    "AWS_REGION": "eu-south-1",
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "secret-of-a-test",
}


class Stage(ABC):
    """A provider, told what to do next; and what it sent."""

    provider: SmsProvider

    @abstractmethod
    def number_for(self, part: Part) -> str:
        """A number with which the next request plays the part."""

    @abstractmethod
    def sent(self) -> list[tuple[str, str]]:
        """Numbers and texts that went out."""


class SandboxStage(Stage):
    NUMBERS: ClassVar[dict[Part, str]] = {
        "taken": "+15005550006",
        "invalid": "+15005550001",
        "opted_out": "+15005550004",
        "too_often": "+15005550429",
        "away": "+15005550503",
        "lost": "+15005550504",
    }

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.provider = sandbox.SandboxProvider(engine)

    def number_for(self, part: Part) -> str:
        return self.NUMBERS[part]

    def sent(self) -> list[tuple[str, str]]:
        with self.engine.connect() as connection:
            rows = connection.execute(sa.select(sandbox.messages).order_by(sandbox.messages.c.id))
            return [(row.to, row.text) for row in rows]


class HttpStage(Stage):
    """Plays its parts by what the server answers."""

    parts: ClassVar[dict[Part, Reply]]
    to_field: str
    text_field: str

    def __init__(self, server: ScriptedServer) -> None:
        self.server = server
        server.usual = self._usual
        self.taken: list[dict[str, str]] = []

    def number_for(self, part: Part) -> str:
        if part != "taken":
            self.server.script.append(self.parts[part])
        return "+393331234567"

    def sent(self) -> list[tuple[str, str]]:
        # What was hung up on had arrived: a provider may well have done it.
        lost = [dict(parse_qsl(seen.body.decode())) for seen in self.server.dropped]
        return [(fields[self.to_field], fields[self.text_field]) for fields in [*self.taken, *lost]]

    def _usual(self, request: Seen) -> Reply:
        refusal = self.check(request)
        if refusal is None:
            self.taken.append(dict(parse_qsl(request.body.decode())))
        return refusal or self.accepted()

    @abstractmethod
    def check(self, request: Seen) -> Reply | None:
        """What is wrong with a request."""

    @abstractmethod
    def accepted(self) -> Reply:
        """The answer to a message that was taken."""


def twilio_error(status: int, code: int, message: str, **headers: str) -> Reply:
    """The documented body of an error: code, message, more_info, status."""
    more = f"https://www.twilio.com/docs/errors/{code}"
    body = {"code": code, "message": message, "more_info": more, "status": status}
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status=status, body=json.dumps(body).encode(), headers={"Content-Type": "application/json", **names})


class TwilioStage(HttpStage):
    to_field, text_field = "To", "Body"
    parts: ClassVar[dict[Part, Reply]] = {
        "invalid": twilio_error(400, 21211, "The 'To' number +393331234567 is not a valid phone number."),
        "opted_out": twilio_error(400, 21610, "Attempt to send to unsubscribed recipient"),
        "too_often": twilio_error(429, 20429, "Too Many Requests", Retry_After="1"),
        "away": twilio_error(503, 20503, "Service unavailable"),
        "lost": Reply(drop=True),
    }

    def __init__(self, server: ScriptedServer, **more: str) -> None:
        super().__init__(server)
        self.provider = TwilioProvider(load_settings({**TWILIO, "TWILIO_URL": server.url, **more}))

    def check(self, request: Seen) -> Reply | None:
        login = base64.b64encode(f"{SID}:{TOKEN}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {login}":
            return twilio_error(401, 20003, "Authenticate")
        if request.path != f"/2010-04-01/Accounts/{SID}/Messages.json":
            return twilio_error(404, 20404, f"The requested resource {request.path} was not found")
        fields = dict(parse_qsl(request.body.decode()))
        if not fields.get("From") and not fields.get("MessagingServiceSid"):
            return twilio_error(400, 21603, "A 'From' phone number is required.")
        return None

    def accepted(self) -> Reply:
        body = {
            "account_sid": SID, "api_version": "2010-04-01", "date_created": "Thu, 24 Aug 2023 05:01:45 +0000",
            "date_sent": None, "direction": "outbound-api", "error_code": None, "error_message": None,
            "num_media": "0", "num_segments": "1", "price": None, "price_unit": None,
            "sid": f"SM{len(self.taken):032d}", "status": "queued",
        }  # fmt: skip
        return Reply(status=201, body=json.dumps(body).encode(), headers={"Content-Type": "application/json"})


def sns_error(status: int, code: str, message: str) -> Reply:
    """The documented body of an error of the query API."""
    text = (
        '<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error>'
        f"<Type>{'Sender' if status < 500 else 'Receiver'}</Type><Code>{code}</Code><Message>{message}</Message>"
        "</Error><RequestId>9dd01905-5012-5f99-8663-4b3ecd0dfaef</RequestId></ErrorResponse>"
    )
    return Reply(status=status, body=text.encode(), headers={"Content-Type": "text/xml"})


class SnsStage(HttpStage):
    to_field, text_field = "PhoneNumber", "Message"
    parts: ClassVar[dict[Part, Reply]] = {
        "invalid": sns_error(
            400, "InvalidParameter", "Invalid parameter: PhoneNumber Reason: +393331234567 is not valid"
        ),
        "opted_out": sns_error(400, "OptedOut", "The phone number +393331234567 has opted out"),
        "too_often": sns_error(400, "Throttling", "Rate exceeded"),
        "away": sns_error(500, "InternalError", "We encountered an internal error. Please try again."),
        "lost": Reply(drop=True),
    }

    def __init__(self, server: ScriptedServer, **more: str) -> None:
        super().__init__(server)
        self.provider = SnsProvider(load_settings({**SNS, "AWS_ENDPOINT_URL_SNS": server.url, **more}))

    def check(self, request: Seen) -> Reply | None:
        # Whether the signature is right is for the tests of the signature and for moto.
        if "/eu-south-1/sns/aws4_request" not in request.headers.get("authorization", ""):
            return sns_error(403, "MissingAuthenticationToken", "Request is missing Authentication Token")
        if dict(parse_qsl(request.body.decode())).get("Action") != "Publish":
            return sns_error(400, "InvalidAction", "The action is not valid for this endpoint.")
        return None

    def accepted(self) -> Reply:
        text = (
            '<PublishResponse xmlns="https://sns.amazonaws.com/doc/2010-03-31/"><PublishResult>'
            f"<MessageId>94f20ce6-13c5-43a0-9a9e-{len(self.taken):012d}</MessageId></PublishResult><ResponseMetadata>"
            "<RequestId>f187a3c1-376f-11df-8963-01868b7c937a</RequestId></ResponseMetadata></PublishResponse>"
        )
        return Reply(status=200, body=text.encode(), headers={"Content-Type": "text/xml"})
