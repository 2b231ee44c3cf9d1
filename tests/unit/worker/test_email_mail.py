"""A mail before it is sent: its address, its headers, its files."""

from __future__ import annotations

from email import message_from_bytes, policy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from workerpool_worker.jobs.email.addresses import checked_address
from workerpool_worker.jobs.email.attachments import File, safe_name
from workerpool_worker.jobs.email.mail import Mail, as_bytes, compose, mail_of
from workerpool_worker.jobs.email.render import Content
from workerpool_worker.models import Attachment, Email, OrderConfirmationEmail
from workerpool_worker.runtime.errors import MailRefusedError
from workerpool_worker.settings import load_settings

pytestmark = pytest.mark.unit

SETTINGS = load_settings({"MAIL_FROM": "shop@x.example"})


def mail(job: Email | None = None, content: Content | None = None, *files: File, **environ: str) -> Mail:
    job = job or Email(id="m1", to="a@example.org", subject="s", text="t")
    settings = load_settings({"MAIL_FROM": "shop@x.example", **environ})
    return mail_of(job, content or Content(subject=job.subject, text=job.text, html=job.html), files, settings)


def written(made: Mail) -> bytes:
    return as_bytes(compose(made))


@pytest.mark.parametrize(
    ("text", "wire"),
    [
        ("a@example.org", "a@example.org"),
        ("First.Last+tag@mail.Example.org", "First.Last+tag@mail.example.org"),
        ("o'neil@example.org", "o'neil@example.org"),
        ("u@münchen.example.org", "u@xn--mnchen-3ya.example.org"),
    ],
)
def test_addresses_as_they_go_over_the_wire(text: str, wire: str) -> None:
    assert checked_address(text) == wire


@pytest.mark.parametrize(
    "bad",
    ["", "a", "a@", "@b.c", "a b@c.d", "A <a@b.c>", "a@b..c", "a..b@c.de", ".a@b.cd", "a@b.c, d@e.f", "ä@b.cd",
     "a@b.c ", '"a b"@c.de', "a@[127.0.0.1]", "a@localhost", "a@shop.test", "a@db.internal.local",
     "a@b.cd\r\nBcc: e@f.gh", "a@b.cd\x00", "a" * 65 + "@b.cd", "a@" + "b" * 64 + ".cd", "a@-b.cd", "-oops",
     "a@b.cd\u202e"],
)  # fmt: skip
def test_what_no_server_can_deliver_to_is_refused_for_good(bad: str) -> None:
    with pytest.raises(MailRefusedError, match="is not a mail address"):
        checked_address(bad)


def test_the_same_job_has_the_same_message_id() -> None:
    first, second = (compose(mail()) for _ in range(2))
    assert first["Message-ID"] == second["Message-ID"] == "<email-m1@x.example>"
    assert (first["X-Job-Id"], first["X-Business-Id"]) == ("email-m1", "m1")
    assert first["Date"]


def test_a_subject_in_any_language() -> None:
    job = Email(id="m", to="a@example.org", subject="您好 — grüße " * 20, text="t")
    raw = written(mail(job))
    assert message_from_bytes(raw, policy=policy.default)["Subject"] == job.subject.strip()
    words = [word for line in raw.split(b"\r\n") if b"=?utf-8?" in line for word in line.split() if b"=?" in word]
    # RFC 2047: an encoded word is at most 75 characters long.
    assert max(map(len, words)) <= 75


@given(
    subject=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200),
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=400),
)
def test_whatever_it_says_there_are_no_other_headers_and_only_ascii_on_the_wire(subject: str, text: str) -> None:
    raw = written(mail(content=Content(subject=subject, text=text)))
    read = message_from_bytes(raw, policy=policy.default)
    assert set(read.keys()) == {
        "From", "To", "Subject", "Date", "Message-ID", "X-Job-Id", "X-Business-Id", "Auto-Submitted", "MIME-Version",
        "Content-Type", "Content-Transfer-Encoding",
    }  # fmt: skip
    assert raw.isascii()
    assert raw.replace(b"\r\n", b"").count(b"\n") == 0
    assert max(map(len, raw.split(b"\r\n"))) <= 998


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\x00"])
def test_no_line_end_of_any_kind_makes_a_header(end: str) -> None:
    raw = written(mail(content=Content(subject=f"Hi{end}Bcc: all@example.org", text="t")))
    assert message_from_bytes(raw, policy=policy.default)["Subject"] == "Hi Bcc: all@example.org"
    assert b"\r\nBcc:" not in raw


@pytest.mark.parametrize("part", ["subject", "text", "html"])
def test_half_a_character_is_refused_for_good(part: str) -> None:
    values = {"subject": "s", "text": "t", "html": "h"} | {part: "\ud83d"}
    with pytest.raises(MailRefusedError, match="cannot be written as a mail"):
        written(mail(content=Content(**values)))


def test_the_sender_has_a_name_and_answers_go_elsewhere() -> None:
    raw = written(mail(MAIL_FROM_NAME="Tea, Cups & Co. <Ü>", MAIL_REPLY_TO="help@x.example"))
    read = message_from_bytes(raw, policy=policy.default)
    (address,) = read["From"].addresses
    assert (address.display_name, address.addr_spec) == ("Tea, Cups & Co. <Ü>", "shop@x.example")
    assert read["Reply-To"] == "help@x.example"


def test_long_ids_are_not_broken_up() -> None:
    job = OrderConfirmationEmail(
        id="x" * 128, to="a@example.org", customer="c", lines=(), currency="EUR", net_minor=0, vat_minor=0,
        total_minor=0, invoice_number="i",
    )  # fmt: skip
    raw = as_bytes(compose(mail_of(job, Content(subject="s", text="t"), (), SETTINGS)))
    assert f"X-Job-Id: {job.job_id}\r\n".encode() in raw
    assert f"Message-ID: <{job.job_id}@x.example>\r\n".encode() in raw


def test_text_html_and_files_in_their_places() -> None:
    file = File(name="rechnung ü.pdf", content_type="application/pdf", content=b"%PDF\x00\xff")
    read = message_from_bytes(
        written(mail(None, Content(subject="s", text="t", html="<p>"), file)), policy=policy.default
    )
    assert read.get_content_type() == "multipart/mixed"
    alternative, attached = read.iter_parts()
    assert [part.get_content_type() for part in alternative.iter_parts()] == ["text/plain", "text/html"]
    assert attached.get_filename() == "rechnung ü.pdf"
    assert attached.get_content() == b"%PDF\x00\xff"


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("invoice.pdf", "invoice.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\windows\\evil.exe", "evil.exe"),
        (".hidden", "hidden"),
        ("a\r\nContent-Type: text/html", "html"),
        ("a\r\nX: y.pdf", "aX_ y.pdf"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ('a"; filename="b.exe', "a__ filename=_b.exe"),
        ("", "attachment"),
        ("...", "attachment"),
        ("\ud800", "attachment"),
        ("Räkning 茶.pdf", "Räkning 茶.pdf"),
        ("x" * 300 + ".pdf", "x" * 116 + ".pdf"),
    ],
)
def test_file_names_are_made_safe(name: str, safe: str) -> None:
    assert safe_name(name) == safe


@given(st.text(max_size=300))
def test_a_safe_name_stays_safe(name: str) -> None:
    safe = safe_name(name)
    assert 0 < len(safe) <= 120
    assert safe.isprintable()
    assert "/" not in safe
    assert "\\" not in safe
    assert safe_name(safe) == safe


def test_an_attachment_has_one_source() -> None:
    with pytest.raises(ValidationError, match="either content or a reference"):
        Attachment(filename="a")
    with pytest.raises(ValidationError, match="either content or a reference"):
        Attachment(filename="a", content="", reference="invoice:1")


@pytest.mark.parametrize(
    "kind", ["multipart/mixed", "message/rfc822", "text", "text/", "a/b\r\nX: y", "text/html; x=y"]
)
def test_an_attachment_is_of_a_plain_type(kind: str) -> None:
    with pytest.raises(ValidationError):
        Attachment.of("a", b"x", kind)


@pytest.mark.parametrize("reference", ["invoice:", "invoice:../1", "file:/etc/passwd", "invoice:a b"])
def test_only_invoices_are_referred_to(reference: str) -> None:
    with pytest.raises(ValidationError):
        Attachment(reference=reference)


def test_a_message_without_attachments_is_what_it_was_before_there_were_any() -> None:
    job = Email(id="m", to="a@example.org", subject="s", text="t")
    assert "attachments" not in job.arguments()
    full = job.model_copy(update={"attachments": (Attachment.invoice("o1"),)})
    assert Email.model_validate(full.arguments()) == full
