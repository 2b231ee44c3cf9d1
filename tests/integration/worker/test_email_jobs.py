"""Email jobs whole: SendGrid's API, attachments, templates; sent once whatever the transport."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.support.providers.mail_server import PostOffice, open_office
from tests.support.providers.scripted_http import Reply, ScriptedServer, serving
from tests.support.providers.sendgrid import KEY, errors, sendgrid
from workerpool_worker.jobs.email.send import send_email, send_template
from workerpool_worker.jobs.orders.invoices import keep_invoice
from workerpool_worker.models import Attachment, Email, TemplateEmail
from workerpool_worker.runtime.context import JobContext
from workerpool_worker.runtime.database import create_tables, make_engine
from workerpool_worker.runtime.errors import (
    EffectMismatchError,
    InvalidJobError,
    JobError,
    MailRefusedError,
    MailServerError,
    ProviderTimeoutError,
    RateLimitedError,
    TransientError,
)
from workerpool_worker.settings import load_settings

pytestmark = pytest.mark.integration

Make = Callable[..., JobContext]


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
def context(engine: sa.Engine) -> Make:
    def make(**environ: object) -> JobContext:
        settings = load_settings({name: str(value) for name, value in environ.items()})
        return JobContext(
            settings=settings, engine=engine, job_id="email-m1", redelivered=False, publish=lambda _: None
        )

    return make


@pytest.fixture
def office() -> Iterator[PostOffice]:
    with open_office() as made:
        yield made


@pytest.fixture
def api() -> Iterator[ScriptedServer]:
    with serving(sendgrid()) as made:
        yield made


def at(api: ScriptedServer, **more: object) -> dict[str, object]:
    return {"EMAIL_TRANSPORT": "sendgrid", "SENDGRID_API_KEY": KEY, "SENDGRID_URL": api.url, **more}


def email(**more: Any) -> Email:
    values = {"id": "m1", "to": "ada@example.org", "subject": "Héllo", "text": "plain", "html": "<p>rich"} | more
    return Email.model_validate(values)


def test_sendgrid_is_sent_what_its_documentation_asks_for(api: ScriptedServer, context: Make) -> None:
    outcome = send_email(
        context(**at(api, MAIL_FROM_NAME="Shop", MAIL_REPLY_TO="help@x.example")),
        email(attachments=(Attachment.of("a.txt", b"content", "text/plain"),)),
    )
    assert (outcome["outcome"], outcome["provider_id"]) == ("sent", "14c5d75ce93.dfd.64b469")
    (seen,) = api.seen
    assert json.loads(seen.body) == {
        "personalizations": [{"to": [{"email": "ada@example.org"}]}],
        "from": {"email": "shop@workerpool.example", "name": "Shop"},
        "reply_to": {"email": "help@x.example"},
        "subject": "Héllo",
        "content": [{"type": "text/plain", "value": "plain"}, {"type": "text/html", "value": "<p>rich"}],
        "headers": {
            "Message-ID": "<email-m1@workerpool.example>",
            "X-Job-Id": "email-m1",
            "X-Business-Id": "m1",
            "Auto-Submitted": "auto-generated",
        },
        "custom_args": {"job_id": "email-m1", "business_id": "m1"},
        "attachments": [
            {"content": "Y29udGVudA==", "type": "text/plain", "filename": "a.txt", "disposition": "attachment"}
        ],
    }


def test_sendgrid_is_asked_once_for_a_job(api: ScriptedServer, context: Make) -> None:
    world = context(**at(api))
    assert send_email(world, email())["outcome"] == "sent"
    assert send_email(world, email()) == {"outcome": "sent", "repeated": True}
    assert len(api.seen) == 1


def test_one_connection_to_sendgrid_for_many_mails(api: ScriptedServer, context: Make) -> None:
    world = context(**at(api))
    for number in range(5):
        send_email(world, email(id=f"m{number}"))
    assert (len(api.seen), api.connections) == (5, 1)


@pytest.mark.parametrize(
    ("reply", "error", "says"),
    [
        (
            errors(400, ("personalizations.0.to.0.email", "Does not contain a valid address.")),
            MailRefusedError,
            "valid",
        ),
        (errors(413, (None, "Payload too large")), MailRefusedError, "413"),
        (errors(401, (None, "The provided authorization grant is invalid")), MailServerError, "401"),
        (errors(403, ("from", "The from address does not match a verified Sender Identity.")), MailServerError, "403"),
        (errors(500, (None, "internal")), MailServerError, "500"),
        (Reply(status=503, body=b"<html>busy</html>"), MailServerError, "503"),
        (Reply(status=520), MailServerError, "520"),
        (Reply(status=504), ProviderTimeoutError, "may have been done"),
        (Reply(drop=True), ProviderTimeoutError, "no answer"),
        (Reply(status=202, delay_s=2), ProviderTimeoutError, "no answer"),
        (Reply(status=301, headers={"Location": "http://127.0.0.1:1/"}), MailServerError, "SENDGRID_URL"),
    ],
)
def test_sendgrids_answers_are_classed(
    api: ScriptedServer, context: Make, reply: Reply, error: type[JobError], says: str
) -> None:
    api.script.append(reply)
    world = context(**at(api, SENDGRID_TIMEOUT_SECONDS=1))
    with pytest.raises(error, match=says) as raised:
        send_email(world, email())
    assert type(raised.value) is error
    assert KEY not in str(raised.value)
    # Nothing is left claimed: the next try does it.
    assert send_email(world, email())["outcome"] == "sent"


@pytest.mark.parametrize(
    ("headers", "after_s"),
    [
        ({"Retry-After": "7"}, 7),
        ({"X-RateLimit-Reset": "in 3000 s"}, 3_000),
        ({"X-RateLimit-Reset": "1392815263"}, 0),
        ({}, None),
        ({"X-RateLimit-Reset": "soon"}, None),
    ],
)
def test_sendgrid_says_when_to_come_back(
    api: ScriptedServer, context: Make, headers: dict[str, str], after_s: float | None
) -> None:
    # The parameters are made when the tests are collected, which may be long before this one runs.
    soon = str(int(datetime.now(UTC).timestamp()) + 3_000)
    headers = {name: soon if value == "in 3000 s" else value for name, value in headers.items()}
    api.script.append(Reply(status=429, headers=headers, body=b'{"errors": [{"message": "too many requests"}]}'))
    with pytest.raises(RateLimitedError, match="too many requests") as limited:
        send_email(context(**at(api)), email())
    assert limited.value.retry_after_s == (None if after_s is None else pytest.approx(after_s, abs=120))


def test_a_sendgrid_that_is_away_was_not_asked(context: Make) -> None:
    world = context(EMAIL_TRANSPORT="sendgrid", SENDGRID_API_KEY=KEY, SENDGRID_URL="http://127.0.0.1:1")
    with pytest.raises(TransientError) as away:
        send_email(world, email())
    assert type(away.value) is TransientError


def test_a_mail_over_smtp_is_sent_once(office: PostOffice, context: Make) -> None:
    world = context(SMTP_PORT=office.port)
    assert send_email(world, email())["message_id"] == "<email-m1@workerpool.example>"
    assert send_email(world, email())["repeated"] is True
    with pytest.raises(EffectMismatchError):
        send_email(world, email(text="another"))
    assert len(office.mails) == 1


def test_files_from_the_message_and_an_invoice_from_the_database(
    office: PostOffice, context: Make, engine: sa.Engine
) -> None:
    keep_invoice(engine, "1001", number="INV-1", issued_at_s=0, render=lambda: b"%PDF-1001")
    attachments = (Attachment.of("../tée.txt", "grün".encode(), "text/plain"), Attachment.invoice("1001"))
    send_email(context(SMTP_PORT=office.port), email(attachments=attachments))
    files = {part.get_filename(): part.get_payload(decode=True) for part in office.mails[0].iter_attachments()}
    assert files == {"tée.txt": "grün".encode(), "invoice-1001.pdf": b"%PDF-1001"}


def test_an_invoice_that_is_not_there_yet_is_waited_for(office: PostOffice, context: Make, engine: sa.Engine) -> None:
    world, job = context(SMTP_PORT=office.port), email(attachments=(Attachment.invoice("1001"),))
    with pytest.raises(TransientError, match="no invoice of order 1001 yet"):
        send_email(world, job)
    keep_invoice(engine, "1001", number="INV-1", issued_at_s=0, render=lambda: b"%PDF")
    assert send_email(world, job)["outcome"] == "sent"


@pytest.mark.parametrize(
    ("attachments", "says"),
    [
        ((Attachment(filename="a", content="no base64!"),), "content of a is not base64"),
        ((Attachment(filename="a", content="YQ"),), "is not base64"),
        (
            (Attachment.of("a", b"x" * 60), Attachment.of("b", b"x" * 41)),
            "101 bytes, EMAIL_MAX_ATTACHMENT_BYTES is 100",
        ),
    ],
)
def test_files_that_cannot_be_sent_are_refused_before_anything_is_sent(
    office: PostOffice, context: Make, attachments: tuple[Attachment, ...], says: str
) -> None:
    with pytest.raises(InvalidJobError, match=says):
        send_email(context(SMTP_PORT=office.port, EMAIL_MAX_ATTACHMENT_BYTES=100), email(attachments=attachments))
    assert office.connections == set()


def test_a_bad_address_is_refused_before_anybody_is_asked(api: ScriptedServer, context: Make) -> None:
    with pytest.raises(MailRefusedError, match="not a mail address"):
        send_email(context(**at(api)), email(to="ada@nowhere"))
    assert api.seen == []


def test_a_template_of_the_shops_own(office: PostOffice, context: Make, tmp_path: Path) -> None:
    (tmp_path / "voucher.subject.j2").write_text("{{ name }}, a present\n")
    (tmp_path / "voucher.txt.j2").write_text("{{ amount_minor | money('EUR') }} until {{ until }}; {{ id }}\n")
    job = TemplateEmail(
        id="v1", to="ada@example.org", template="voucher",
        values={"name": "Ada\nBcc: x", "amount_minor": 500, "until": "May", "id": "not the job's"},
    )  # fmt: skip
    send_template(context(SMTP_PORT=office.port, EMAIL_TEMPLATE_DIR=tmp_path), job)
    (mail,) = office.mails
    assert mail["Subject"] == "Ada Bcc: x, a present"
    assert mail["Bcc"] is None
    assert mail.get_content().splitlines() == ["5.00 EUR until May; v1"]
