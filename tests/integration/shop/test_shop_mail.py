"""The mail sink as it runs in its container: a real process, real SMTP and HTTP, killed and started again."""

from __future__ import annotations

import json
import os
import signal
import smtplib
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from tests.support.smtp import free_port

pytestmark = pytest.mark.integration

IMAGE = Path(__file__).resolve().parents[3] / "manifests" / "shop" / "image"


@dataclass
class Sink:
    process: subprocess.Popen[str]
    smtp_port: int
    http_port: int

    def get(self, path: str, method: str = "GET") -> str:
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}{path}", method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - loopback
            return str(answer.read().decode())

    def status(self, path: str, method: str = "GET") -> int:
        try:
            self.get(path, method)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        return 200

    def mails(self, query: str = "") -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.get(f"/mails{query}").splitlines()]


@contextmanager
def sink(folder: Path) -> Iterator[Sink]:
    ports = free_port(), free_port()
    env = {"DATA_DIR": str(folder), "MAIL_PORT": str(ports[0]), "HTTP_PORT": str(ports[1]), "PATH": os.environ["PATH"]}
    command = [sys.executable, "-m", "shop_services", "mail"]
    with subprocess.Popen(command, cwd=IMAGE, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith(f"SMTP on {ports[0]}, HTTP on {ports[1]}, ")
            yield Sink(process, *ports)
        finally:
            process.kill()


def send(client: smtplib.SMTP, number: int) -> None:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "shop@x.example", "ada@x.example", f"Grüße {number}"
    mail["X-Job-Id"], mail["X-Business-Id"], mail["Message-ID"] = f"email-{number}", str(number), f"<{number}@x>"
    mail.set_content("Hello")
    client.send_message(mail)


def test_what_is_sent_is_shown(tmp_path: Path) -> None:
    with sink(tmp_path) as one:
        assert one.get("/healthz") == "ok\n"
        with smtplib.SMTP("127.0.0.1", one.smtp_port) as client:
            send(client, 1)
            send(client, 2)
            send(client, 2)
        first, *rest = one.mails()
        del first["received_at"], first["size"]
        assert first == {
            "index": 1,
            "from": "shop@x.example",
            "to": ["ada@x.example"],
            "subject": "Grüße 1",
            "X-Job-Id": "email-1",
            "X-Business-Id": "1",
            "Message-ID": "<1@x>",
        }
        assert one.mails("?since=1") == rest
        assert "Hello" in one.get("/mails/1")
        assert json.loads(one.get("/counts"))["duplicates"] == {"email-2": 2}
        assert "<h1>3 mails</h1>" in one.get("/")
        assert json.loads(one.get("/mails", "DELETE")) == {"deleted": 3}
        assert one.mails() == []
        bad = [("/mails/9", "GET"), ("/nowhere", "GET"), ("/mails?since=x", "GET"), ("/", "DELETE")]
        assert [one.status(*request) for request in bad] == [404, 404, 400, 404]


def test_what_was_acknowledged_outlives_a_kill(tmp_path: Path) -> None:
    acknowledged = 0
    with sink(tmp_path) as one, smtplib.SMTP("127.0.0.1", one.smtp_port) as client:
        with pytest.raises((smtplib.SMTPException, OSError)):  # noqa: PT012 - the loop ends by the kill
            while True:
                send(client, acknowledged + 1)
                acknowledged += 1
                if acknowledged == 20:
                    one.process.kill()
                    one.process.wait(10)
        client.close()
    with sink(tmp_path) as again:
        kept = [mail["X-Job-Id"] for mail in again.mails()]
    assert kept == [f"email-{number}" for number in range(1, 21)]


def test_a_stop_is_orderly_with_a_client_still_connected(tmp_path: Path) -> None:
    with sink(tmp_path) as one, smtplib.SMTP("127.0.0.1", one.smtp_port) as client:
        send(client, 1)
        one.process.send_signal(signal.SIGTERM)
        assert one.process.wait(10) == 0
        client.close()
    with sink(tmp_path) as again:
        assert len(again.mails()) == 1
