"""Hooks through a real worker: jobs that complete, that fail for good, and that die with their message."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.worker.bench import Bench, until
from tests.support.providers.scripted_http import Reply, ScriptedServer, serving
from tests.support.smtp import Mailbox
from workerpool_worker.models import Email, Payment

pytestmark = pytest.mark.integration


@pytest.fixture
def receiver() -> Iterator[ScriptedServer]:
    with serving(ScriptedServer(usual=lambda _: Reply(status=200))) as server:
        yield server


def told(receiver: ScriptedServer) -> list[tuple[str, str]]:
    bodies = [json.loads(seen.body) for seen in receiver.seen]
    return [(body["job_id"], body["state"]) for body in bodies]


def hooks(*entries: dict[str, Any]) -> str:
    return json.dumps(entries)


def test_a_job_that_completed_is_told_of_and_signed(bench: Bench, receiver: ScriptedServer) -> None:
    # The receiver is away at first.
    receiver.script.append(Reply(status=503))
    hook = {
        "name": "shop",
        "on": ["completed"],
        "tasks": "payment.*",
        "webhook": receiver.url,
        "secretEnv": "SHOP_HOOK_SECRET",
    }
    bench.start(WORKERPOOL_HOOKS=hooks(hook), SHOP_HOOK_SECRET="whsec_1")
    bench.producer.payment(Payment(id="p1", amount_minor=500))
    until(lambda: len(receiver.seen) == 2, what=bench.logs)
    until(bench.all_done, what=bench.logs)
    assert told(receiver) == [("payment-p1", "completed")] * 2
    body = json.loads(receiver.seen[1].body)
    assert (body["task"], body["queue"], body["result"]["outcome"]) == ("payment.process", "payment", "succeeded")
    assert receiver.seen[1].headers["x-workerpool-signature"].startswith("t=")
    # Jobs of hooks set off no hooks, and the same job again is told of no second time.
    bench.producer.payment(Payment(id="p1", amount_minor=500))
    until(lambda: bench.outcomes().count(("hook-payment-p1-completed-shop", "delivered")) == 2, what=bench.logs)
    assert len(receiver.seen) == 2
    assert "whsec_1" not in bench.logs()


def test_a_job_that_failed_for_good_is_told_of(bench: Bench, receiver: ScriptedServer, mailbox: Mailbox) -> None:
    mailbox.answers["nobody@example.org"] = "550 no such user"
    bench.start(
        WORKERPOOL_HOOKS=hooks(
            {"name": "shop", "on": ["failed"], "webhook": receiver.url},
            {"name": "ops", "on": ["failed"], "tasks": "email.*", "email": "ops@example.org"},
        )
    )
    bench.producer.email(Email(id="m1", to="nobody@example.org", subject="s", text="t"))
    bench.producer.email(Email(id="m2", to="somebody@example.org", subject="s", text="t"))
    until(lambda: len(mailbox.to("ops@example.org")) == 1 and receiver.seen, what=bench.logs)
    until(bench.all_done, what=bench.logs)
    assert told(receiver) == [("email-m1", "failed")]
    assert json.loads(receiver.seen[0].body)["error"].startswith("MailRefusedError: ")
    (mail,) = mailbox.to("ops@example.org")
    assert mail["Subject"] == "Failed: email.send email-m1"
    part: Any = mail.get_body(("plain",))
    assert "workerpool-worker dead-letters requeue email-m1" in part.get_content()
    assert "no such user" in part.get_content()


def test_a_mail_about_a_job_that_completed(bench: Bench, mailbox: Mailbox) -> None:
    bench.start(WORKERPOOL_HOOKS=hooks({"on": ["completed"], "tasks": "payment.process", "email": "ops@example.org"}))
    bench.producer.payment(Payment(id="p1", amount_minor=500))
    until(lambda: len(mailbox.to("ops@example.org")) == 1, what=bench.logs)
    (mail,) = mailbox.to("ops@example.org")
    assert mail["Subject"] == "Done: payment.process payment-p1"
    part: Any = mail.get_body(("plain",))
    assert '"outcome": "succeeded"' in part.get_content()


def test_a_wrong_hook_stops_the_start(bench: Bench) -> None:
    worker = bench.start(WORKERPOOL_HOOKS=hooks({"on": ["completed"]}))
    assert worker.exit_status() == 2
    (line,) = worker.log.read_text().splitlines()
    assert line == "workerpool-worker: WORKERPOOL_HOOKS: the list: entry 1: email, webhook: name one of them"
