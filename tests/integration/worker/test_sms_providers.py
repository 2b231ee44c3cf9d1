"""What every SMS provider keeps to, the sandbox and the real ones alike; and what is each one's own."""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest
import sqlalchemy as sa

from tests.support.providers.moto import REGION, Moto, moto
from tests.support.providers.scripted_http import Reply, ScriptedServer, forget_connections, serving
from tests.support.providers.sms import (
    SNS,
    SandboxStage,
    SnsStage,
    Stage,
    TwilioStage,
    sns_error,
    twilio_error,
)
from workerpool_worker.jobs.sms import send
from workerpool_worker.jobs.sms.sns import SnsProvider
from workerpool_worker.models import Sms
from workerpool_worker.runtime.context import JobContext
from workerpool_worker.runtime.database import create_tables, make_engine
from workerpool_worker.runtime.errors import (
    EffectMismatchError,
    InvalidJobError,
    ProviderTimeoutError,
    RateLimitedError,
    SmsRefusedError,
    TransientError,
)
from workerpool_worker.settings import load_settings

__all__ = ["moto"]

pytestmark = pytest.mark.integration

TEXT = "Grüße & 100 % = €5?\n茶 🙂"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    made = make_engine(f"sqlite:///{tmp_path / 'test.db'}")
    create_tables(made)
    yield made
    made.dispose()


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with serving(ScriptedServer(usual=lambda _: Reply(status=500))) as made:
        yield made


@pytest.fixture(params=["sandbox", "twilio", "sns"])
def stage(request: pytest.FixtureRequest, engine: sa.Engine) -> Stage:
    if request.param == "sandbox":
        return SandboxStage(engine)
    server: ScriptedServer = request.getfixturevalue("server")
    return TwilioStage(server) if request.param == "twilio" else SnsStage(server)


@pytest.fixture
def context(engine: sa.Engine, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> JobContext:
    monkeypatch.setattr(send, "provider_for", lambda _: stage.provider)
    settings = load_settings({"WORKERPOOL_STATE_DIR": "/nowhere"})
    return JobContext(settings=settings, engine=engine, job_id="sms-s1", redelivered=False, publish=lambda _: None)


def test_a_message_is_taken_as_it_is(stage: Stage) -> None:
    number = stage.number_for("taken")
    receipts = [stage.provider.send(to=number, text=TEXT, reference=f"s{n}") for n in range(2)]
    assert stage.sent() == [(number, TEXT)] * 2
    assert len({receipt.id for receipt in receipts}) == 2


@pytest.mark.parametrize("part", ["invalid", "opted_out"])
def test_a_number_that_never_gets_it(stage: Stage, part: str) -> None:
    number = stage.number_for(part)  # type: ignore[arg-type]
    with pytest.raises(SmsRefusedError) as refused:
        stage.provider.send(to=number, text="t", reference="s1")
    assert number not in str(refused.value)
    assert number[1:] not in str(refused.value)
    assert stage.sent() == []


def test_too_often(stage: Stage) -> None:
    with pytest.raises(RateLimitedError) as limited:
        stage.provider.send(to=stage.number_for("too_often"), text="t", reference="s1")
    # SNS names no time.
    assert limited.value.retry_after_s == (None if isinstance(stage, SnsStage) else 1.0)
    assert stage.sent() == []


def test_away(stage: Stage) -> None:
    with pytest.raises(TransientError) as away:
        stage.provider.send(to=stage.number_for("away"), text="t", reference="s1")
    assert type(away.value) is TransientError
    assert stage.sent() == []


def test_no_answer_may_be_a_message_sent(stage: Stage) -> None:
    with pytest.raises(ProviderTimeoutError, match=r"may have been|no answer"):
        stage.provider.send(to=stage.number_for("lost"), text="t", reference="s1")
    assert len(stage.sent()) == 1


def test_a_job_sends_once(stage: Stage, context: JobContext) -> None:
    job = Sms(id="s1", to=stage.number_for("taken"), text=TEXT)
    first, second = send.send_sms(context, job), send.send_sms(context, job)
    assert (first["outcome"], first["segments"]) == ("sent", 1)
    assert first["provider_id"]
    assert second == {"outcome": "sent", "repeated": True}
    assert len(stage.sent()) == 1
    with pytest.raises(EffectMismatchError):
        send.send_sms(context, job.model_copy(update={"text": "another"}))


def test_a_job_that_failed_before_sending_is_done_by_its_next_try(stage: Stage, context: JobContext) -> None:
    job = Sms(id="s1", to=stage.number_for("away"), text=TEXT)
    with pytest.raises(TransientError):
        send.send_sms(context, job)
    if isinstance(stage, SandboxStage):
        job = job.model_copy(update={"id": "s2", "to": stage.number_for("taken")})
    assert send.send_sms(context, job)["outcome"] == "sent"
    assert len(stage.sent()) == 1


def test_a_text_too_long_is_refused_before_anybody_is_asked(stage: Stage, context: JobContext) -> None:
    with pytest.raises(InvalidJobError, match="takes 7 segments in GSM-7, SMS_MAX_SEGMENTS is 6"):
        send.send_sms(context, Sms(id="s1", to=stage.number_for("taken"), text="x" * (6 * 153 + 1)))
    assert stage.sent() == []


def test_nothing_is_logged_of_number_text_or_secret(
    stage: Stage, context: JobContext, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        outcome = send.send_sms(context, Sms(id="s1", to=stage.number_for("taken"), text="secret code"))
    everything = f"{outcome} {caplog.text}"
    assert all(word not in everything for word in ("3331234567", "5005550006", "secret code", "of-a-test"))


@pytest.mark.parametrize(
    ("reply", "error", "says"),
    [
        (twilio_error(401, 20003, "Authenticate"), TransientError, "check the TWILIO_ settings"),
        (twilio_error(400, 21606, "The 'From' phone number is not valid"), TransientError, "SMS_FROM"),
        (twilio_error(404, 20404, "The requested resource was not found"), TransientError, "TWILIO_"),
        (twilio_error(400, 21614, "'To' number is not a valid mobile number"), SmsRefusedError, "21614"),
        (twilio_error(400, 21611, "This 'From' number has exceeded the maximum"), RateLimitedError, "21611"),
        (Reply(status=502, body=b"<html>bad gateway</html>"), TransientError, "502"),
        (Reply(status=520, body=b""), TransientError, "520"),
        (Reply(status=504), ProviderTimeoutError, "may have been sent"),
        (Reply(status=302, headers={"Location": "http://127.0.0.1:1/"}), TransientError, "302"),
        (Reply(status=201, body=b"{}"), ProviderTimeoutError, "without a message SID"),
        (Reply(status=201, body=b"half", headers={"Content-Type": "x"}, delay_s=2), ProviderTimeoutError, "no answer"),
    ],
)
def test_twilio_in_other_moods(server: ScriptedServer, reply: Reply, error: type[Exception], says: str) -> None:
    stage = TwilioStage(server, SMS_TIMEOUT_SECONDS="1")
    server.script.append(reply)
    with pytest.raises(TransientError if error is TransientError else error, match=says) as raised:
        stage.provider.send(to="+393331234567", text="t", reference="s1")
    assert type(raised.value) is error
    assert len(server.seen) == 1


def test_twilio_by_api_key_service_and_callback(server: ScriptedServer) -> None:
    key, service = "SK" + "1" * 32, "MG" + "2" * 32
    stage = TwilioStage(
        server,
        TWILIO_API_KEY=key,
        TWILIO_API_SECRET="s3cret",
        TWILIO_AUTH_TOKEN="",
        TWILIO_MESSAGING_SERVICE_SID=service,
        TWILIO_STATUS_CALLBACK="https://shop.example/sms?a=1",
        SMS_FROM="",
    )
    server.script.append(stage.accepted())
    stage.provider.send(to="+393331234567", text="t", reference="s1")
    (seen,) = server.seen
    assert seen.headers["authorization"] == "Basic " + base64.b64encode(f"{key}:s3cret".encode()).decode()
    fields = parse_qs(seen.body.decode())
    assert fields["MessagingServiceSid"] == [service]
    assert fields["StatusCallback"] == ["https://shop.example/sms?a=1"]
    assert "From" not in fields


def test_one_connection_for_many_messages(server: ScriptedServer) -> None:
    stage = TwilioStage(server)
    for number in range(5):
        stage.provider.send(to="+393331234567", text="t", reference=f"s{number}")
    assert (len(server.seen), server.connections) == (5, 1)


def test_a_provider_that_cannot_be_reached_was_not_asked(server: ScriptedServer) -> None:
    stage = TwilioStage(server, TWILIO_URL="http://127.0.0.1:1")
    with pytest.raises(TransientError) as raised:
        stage.provider.send(to="+393331234567", text="t", reference="s1")
    assert type(raised.value) is TransientError


@pytest.mark.parametrize(
    ("reply", "error", "says"),
    [
        (sns_error(403, "SignatureDoesNotMatch", "The request signature"), TransientError, "check the AWS_ settings"),
        (sns_error(403, "AuthorizationError", "not authorized"), TransientError, "sns:Publish"),
        (sns_error(429, "ThrottledException", "Rate exceeded"), RateLimitedError, "Rate exceeded"),
        (sns_error(400, "InvalidParameterValue", "Invalid sender"), SmsRefusedError, "InvalidParameterValue"),
        (Reply(status=503, body=b"<html>"), TransientError, "503"),
        (Reply(status=200, body=b"not xml"), ProviderTimeoutError, "without a MessageId"),
        # Declarations are not followed: they are how a short document becomes a large one.
        (
            Reply(status=200, body=b'<!DOCTYPE a [<!ENTITY b "c">]><a><MessageId>&b;</MessageId></a>'),
            ProviderTimeoutError,
            "without a MessageId",
        ),
    ],
)
def test_sns_in_other_moods(server: ScriptedServer, reply: Reply, error: type[Exception], says: str) -> None:
    stage = SnsStage(server)
    server.script.append(reply)
    with pytest.raises(TransientError if error is TransientError else error, match=says) as raised:
        stage.provider.send(to="+393331234567", text="t", reference="s1")
    assert type(raised.value) is error


@pytest.mark.parametrize(
    ("sender", "attribute"), [("MyShop", "AWS.SNS.SMS.SenderID"), ("+15005550006", "AWS.MM.SMS.OriginationNumber")]
)
def test_sns_senders(server: ScriptedServer, sender: str, attribute: str) -> None:
    stage = SnsStage(server, SMS_FROM=sender, SNS_SMS_TYPE="Promotional", AWS_SESSION_TOKEN="a-session")
    stage.provider.send(to="+393331234567", text="t", reference="s1")
    (seen,) = server.seen
    fields = {name: values[0] for name, values in parse_qs(seen.body.decode()).items()}
    entry = "MessageAttributes.entry"
    assert (fields[f"{entry}.1.Name"], fields[f"{entry}.1.Value.StringValue"]) == ("AWS.SNS.SMS.SMSType", "Promotional")
    assert (fields[f"{entry}.2.Name"], fields[f"{entry}.2.Value.StringValue"]) == (attribute, sender)
    assert seen.headers["x-amz-security-token"] == "a-session"
    assert "x-amz-security-token" in seen.headers["authorization"]


@pytest.fixture
def at_moto(moto: Moto) -> Iterator[dict[str, str]]:
    yield SNS | {
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL_SNS": moto.url,
        "AWS_ACCESS_KEY_ID": moto.access_key_id,
        "AWS_SECRET_ACCESS_KEY": moto.secret_access_key,
        "SMS_TIMEOUT_SECONDS": "30",
    }
    forget_connections()


def test_sns_takes_what_we_sign(moto: Moto, at_moto: dict[str, str]) -> None:
    receipt = SnsProvider(load_settings({**at_moto, "SMS_FROM": "MyShop"})).send(
        to="+393331234567", text=TEXT, reference="s1"
    )
    assert receipt.id
    assert ("+393331234567", TEXT) in moto.messages()


def test_sns_does_not_take_what_another_signed(moto: Moto, at_moto: dict[str, str]) -> None:
    before = moto.messages()
    provider = SnsProvider(load_settings({**at_moto, "AWS_SECRET_ACCESS_KEY": "not-the-secret"}))
    with pytest.raises(TransientError, match="SignatureDoesNotMatch"):
        provider.send(to="+393331234567", text="t", reference="s1")
    assert moto.messages() == before


def test_sns_refuses_a_number_that_is_none(at_moto: dict[str, str]) -> None:
    with pytest.raises(SmsRefusedError, match="InvalidParameter"):
        SnsProvider(load_settings(at_moto)).send(to="+39x", text="t", reference="s1")
