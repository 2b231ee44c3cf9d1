"""Mail over a real SMTP server: encryption that is checked, connections that are kept, answers that are classed."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from tests.support.providers.mail_server import PASSWORD, USER, PostOffice, ca_file, open_office
from workerpool_worker.jobs.email import smtp
from workerpool_worker.jobs.email.mail import Mail, mail_of
from workerpool_worker.jobs.email.render import Content
from workerpool_worker.jobs.email.smtp import SmtpTransport
from workerpool_worker.models import Email
from workerpool_worker.runtime.errors import JobError, MailRefusedError, MailServerError, ProviderTimeoutError
from workerpool_worker.settings import load_settings

pytestmark = pytest.mark.integration


def transport(port: int, **environ: object) -> SmtpTransport:
    names = {"SMTP_PORT": port, "SMTP_TIMEOUT_SECONDS": 5, **environ}
    return SmtpTransport(load_settings({name: str(value) for name, value in names.items()}))


def mail(number: int = 1, text: str = "Hello") -> Mail:
    job = Email(id=f"m{number}", to="ada@example.org", subject="Hi", text=text)
    return mail_of(job, Content(subject="Hi", text=text), (), load_settings({}))


@pytest.fixture
def office() -> Iterator[PostOffice]:
    with open_office() as made:
        yield made


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_encrypted_to_a_server_that_shows_who_it_is(tls: str, tmp_path: Path) -> None:
    ca = trustme.CA()
    with open_office(tls=tls, ca=ca) as office:
        transport(office.port, SMTP_TLS=tls, SMTP_CA_FILE=ca_file(ca, tmp_path)).send(mail())
        assert office.encrypted == [True]
        assert office.mails[0]["Message-ID"] == "<email-m1@workerpool.example>"


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
@pytest.mark.parametrize(
    ("name", "own", "says"), [("127.0.0.1", False, "self-signed|unable to get"), ("mail.example.org", True, "mismatch")]
)
def test_nothing_is_said_to_a_server_that_is_another(tls: str, name: str, own: bool, says: str, tmp_path: Path) -> None:
    theirs, ours = trustme.CA(), trustme.CA()
    with open_office(tls=tls, name=name, ca=theirs, login=tls == "starttls") as office:
        told = ca_file(theirs if own else ours, tmp_path)
        with pytest.raises(MailServerError, match=says) as refused:
            transport(
                office.port, SMTP_TLS=tls, SMTP_CA_FILE=told, SMTP_USERNAME=USER, SMTP_PASSWORD=PASSWORD
            ).prepare()
        assert "its certificate is not trusted" in str(refused.value)
        assert "SMTP_CA_FILE" in str(refused.value)
        assert PASSWORD not in str(refused.value)
        assert office.connections == set()
        assert not smtp._connections


def test_a_server_without_starttls_gets_no_mail_in_the_clear(office: PostOffice) -> None:
    with pytest.raises(MailServerError, match="STARTTLS"):
        transport(office.port, SMTP_TLS="starttls").send(mail())
    assert office.mails == []


def test_login(tmp_path: Path) -> None:
    ca = trustme.CA()
    with open_office(tls="starttls", ca=ca, login=True) as office:
        known = {"SMTP_TLS": "starttls", "SMTP_CA_FILE": ca_file(ca, tmp_path), "SMTP_USERNAME": USER}
        with pytest.raises(MailServerError, match=r"login refused \(535\)"):
            transport(office.port, **known, SMTP_PASSWORD="wrong").send(mail())
        transport(office.port, **known, SMTP_PASSWORD=PASSWORD).send(mail())
        with pytest.raises(MailServerError, match="530"):
            transport(office.port, **{**known, "SMTP_USERNAME": ""}).send(mail(2))
        assert [str(one["X-Job-Id"]) for one in office.mails] == ["email-m1"]


def test_many_mails_over_one_connection(office: PostOffice) -> None:
    used = transport(office.port)
    for number in range(5):
        used.prepare()
        used.send(mail(number))
    assert (len(office.mails), len(office.connections)) == (5, 1)


def test_a_connection_is_used_for_so_many_mails(office: PostOffice) -> None:
    used = transport(office.port, SMTP_MAILS_PER_CONNECTION=2)
    for number in range(5):
        used.prepare()
        used.send(mail(number))
    assert (len(office.mails), len(office.connections)) == (5, 3)


def test_a_connection_idle_for_long_is_not_used_again(office: PostOffice) -> None:
    used = transport(office.port, SMTP_IDLE_SECONDS=30)
    used.send(mail(1))
    (kept,) = smtp._connections.values()
    kept.used_at_s -= 31
    used.prepare()
    used.send(mail(2))
    assert (len(office.mails), len(office.connections)) == (2, 2)


def test_a_server_that_hung_up_meanwhile_costs_no_mail(office: PostOffice) -> None:
    used = transport(office.port)
    used.send(mail(1))
    (kept,) = smtp._connections.values()
    assert kept.client.sock is not None
    kept.client.sock.shutdown(2)
    used.prepare()
    used.send(mail(2))
    assert (len(office.mails), len(office.connections)) == (2, 2)


def test_a_server_that_says_goodbye_to_noop_is_connected_to_again(office: PostOffice) -> None:
    used = transport(office.port)
    used.send(mail(1))
    office.says["NOOP"] = ["421 4.3.2 going down"]
    used.prepare()
    used.send(mail(2))
    assert (len(office.mails), len(office.connections)) == (2, 2)


def test_a_job_cut_off_while_it_asks_leaves_no_half_read_connection(
    office: PostOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = transport(office.port)
    used.send(mail(1))

    class TimeLimitError(Exception):
        pass

    def cut_off(*_: object) -> bool:
        raise TimeLimitError

    with monkeypatch.context() as patch:
        patch.setattr(smtp, "_answers_well", cut_off)
        with pytest.raises(TimeLimitError):
            used.prepare()
    assert not smtp._connections
    used.send(mail(2))
    assert len(office.mails) == 2


def test_a_forked_child_connects_for_itself(office: PostOffice) -> None:
    used = transport(office.port)
    used.send(mail(1))
    child = os.fork()
    if child == 0:
        try:
            used.prepare()
            used.send(mail(2))
        finally:
            os._exit(len(smtp._connections))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    used.send(mail(3))
    assert (len(office.mails), len(office.connections)) == (3, 2)


@pytest.mark.parametrize(
    ("command", "said", "error"),
    [
        ("RCPT", "450 4.2.0 greylisted", MailServerError),
        ("RCPT", "452 4.2.2 mailbox full", MailServerError),
        ("RCPT", "552 5.2.2 mailbox full", MailServerError),
        ("RCPT", "550 5.1.1 no such user", MailRefusedError),
        ("RCPT", "553 5.1.3 bad address", MailRefusedError),
        ("RCPT", "421 4.7.0 try again later", MailServerError),
        ("DATA", "451 4.3.0 local error", MailServerError),
        ("DATA", "452 4.3.1 no space", MailServerError),
        ("DATA", "421 4.7.0 try again later", MailServerError),
        ("DATA", "554 5.7.1 spam", MailRefusedError),
        ("DATA", "552 5.3.4 message too big", MailRefusedError),
        ("DATA", "552 5.2.2 mailbox full", MailServerError),
        ("MAIL", "550 5.7.1 not your address", MailServerError),
        ("MAIL", "530 5.7.0 Authentication required", MailServerError),
        ("MAIL", "552 5.3.4 message size exceeds fixed limit", MailRefusedError),
        ("MAIL", "421 4.3.2 going down", MailServerError),
    ],
)
def test_what_a_server_says_is_classed_and_the_next_mail_goes_through(
    office: PostOffice, command: str, said: str, error: type[JobError]
) -> None:
    office.says[command] = [said]
    used = transport(office.port)
    with pytest.raises(error, match=said[:9].replace(".", r"\.")) as raised:
        used.send(mail(1))
    assert type(raised.value) is error
    assert office.mails == []
    used.prepare()
    used.send(mail(2))
    assert [str(one["X-Job-Id"]) for one in office.mails] == ["email-m2"]


def test_a_refused_mail_does_not_cost_the_connection(office: PostOffice) -> None:
    used = transport(office.port)
    used.send(mail(1))
    office.says["RCPT"] = ["550 5.1.1 no such user"]
    with pytest.raises(MailRefusedError):
        used.send(mail(2))
    used.send(mail(3))
    assert (len(office.mails), len(office.connections)) == (2, 1)


def test_silence_after_the_mail_may_be_a_mail_taken(office: PostOffice) -> None:
    office.silent_s = 1.5
    used = transport(office.port, SMTP_TIMEOUT_SECONDS=0.5)
    with pytest.raises(ProviderTimeoutError, match="may have been taken"):
        used.send(mail())
    assert len(office.mails) == 1
    assert not smtp._connections


def test_a_server_that_is_away_and_one_that_is_silent(office: PostOffice) -> None:
    with pytest.raises(MailServerError, match=r"mail server 127\.0\.0\.1:1: "):
        transport(1).prepare()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(MailServerError, match="timed out"):
            transport(silent.getsockname()[1], SMTP_TIMEOUT_SECONDS=0.3).prepare()
        assert time.monotonic() - began < 5


def test_dots_long_lines_and_letters_arrive_as_they_were(office: PostOffice) -> None:
    text = ".\n..\n.dot\nend\n.\n" + "x" * 5_000 + "\ngrüße 茶\n"
    transport(office.port).send(mail(text=text))
    body = office.mails[0].get_body(("plain",))
    assert body is not None
    assert body.get_content().replace("\r\n", "\n") == text
    assert office.raw[0].isascii()


def test_one_sender_and_one_recipient_in_the_envelope(office: PostOffice) -> None:
    transport(office.port).send(replace(mail(), to="bob@example.org"))
    assert (office.senders, office.recipients) == (["shop@workerpool.example"], ["bob@example.org"])
