"""`workerpool-worker dead-letters`, each command as a person runs it, on a real Redis."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from tests.integration.worker.bench import COMMAND, Bench, until
from tests.support.smtp import Mailbox
from workerpool_worker.messages.dead_letters import DeadLetters, Filter
from workerpool_worker.messages.letters import Letter
from workerpool_worker.messages.settle import Keep
from workerpool_worker.models import Email

pytestmark = pytest.mark.integration


@pytest.fixture
def letters(bench: Bench) -> Iterator[DeadLetters]:
    client = redis.Redis.from_url(bench.url)
    yield DeadLetters(client)
    client.close()


def message(bench: Bench, name: str) -> bytes:
    """What a producer sends, taken out of the queue again."""
    arguments = Email(id=name, to="a@example.org", subject="s", text="t").arguments()
    bench.celery.send_task("email.send", kwargs=arguments, task_id=f"email-{name}", queue="email")
    raw: Any = bench.redis.lpop("email")
    return str(raw).encode()


def put(bench: Bench, letters: DeadLetters, name: str, **more: Any) -> Letter:
    """A letter of a job that would succeed now."""
    known: dict[str, Any] = {
        "id": f"email-{name}",
        "job_id": f"email-{name}",
        "task": "email.send",
        "queue": "email",
        "list_key": "email",
        "error": "MailServerError",
        "text": "away",
        "trace": "Traceback (most recent call last):\n  ...\n",
        "attempts": 21,
        "enqueued_at": time.time() - 3600,
        "died_at": time.time(),
    }
    letter = Letter(**(known | more))
    assert letters.put(letter, message(bench, name))
    return letter


def run(bench: Bench, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [COMMAND, "dead-letters", *arguments]
    return subprocess.run(
        command, env=bench.environment(), capture_output=True, text=True, input=stdin, check=False, cwd=bench.folder
    )


def ids(letters: DeadLetters) -> list[str]:
    return [letter.id for letter in letters.find(Filter())]


def test_listing_shows_what_matches_newest_first(bench: Bench, letters: DeadLetters) -> None:
    put(bench, letters, "old", died_at=time.time() - 7200)
    put(bench, letters, "new")
    put(bench, letters, "sms", id="sms-1", queue="sms", task="sms.send", error="SmsRefusedError")
    shown = run(bench, "list")
    lines = shown.stdout.splitlines()
    assert lines[0].split() == ["ID", "QUEUE", "TASK", "DIED", "TRIES", "ERROR"]
    assert [line.split()[0] for line in lines[1:]] == ["email-new", "email-old", "sms-1"]
    assert shown.stderr == "3 shown of 3 dead letters: email 2, sms 1\n"
    for chosen, expected in (
        (("--queue", "sms"), ["sms-1"]),
        (("--task", "email.*"), ["email-new", "email-old"]),
        (("--error", "Sms*"), ["sms-1"]),
        (("--since", "1h"), ["email-new", "sms-1"]),
        (("--until", "1h"), ["email-old"]),
        (("--queue", "email", "--limit", "1"), ["email-new"]),
    ):
        found = run(bench, "list", "--json", *chosen).stdout.splitlines()
        assert [json.loads(line)["id"] for line in found] == expected
    assert run(bench, "list", "--queue", "none").stderr == "0 shown of 3 dead letters: email 2, sms 1\n"


def test_showing_one_tells_everything(bench: Bench, letters: DeadLetters) -> None:
    put(bench, letters, "one", losses=2, correlation_id="checkout-7")
    text = run(bench, "show", "email-one", "--message").stdout
    for part in (
        "MailServerError: away",
        "21, 2 of them ended with the worker",
        "checkout-7",
        "Traceback",
        "routing_key",
    ):
        assert part in text
    found = json.loads(run(bench, "show", "email-one", "--json").stdout)
    assert found["arguments"]["subject"] == "s"
    missing = run(bench, "show", "email-none")
    assert (missing.returncode, missing.stderr.count("\n")) == (1, 1)
    assert "no dead letter email-none" in missing.stderr


def test_a_requeued_job_is_done_as_if_it_were_new(bench: Bench, letters: DeadLetters, mailbox: Mailbox) -> None:
    put(bench, letters, "one")
    assert run(bench, "requeue", "email-one").stdout == "1 requeued\n"
    (headers,) = bench.headers("email")
    assert (headers["retries"], "workerpool" in headers) == (0, False)
    assert time.time() - headers["enqueued_at"] < 60
    assert ids(letters) == []
    bench.start().ready()
    until(lambda: mailbox.ids() == ["email-one"], what=bench.logs)
    again = run(bench, "requeue", "email-one")
    assert again.returncode == 1


def test_many_are_requeued_by_filter_and_none_without_being_asked(bench: Bench, letters: DeadLetters) -> None:
    for number in range(250):
        put(bench, letters, f"m{number}")
    put(bench, letters, "kept", error="MailRefusedError")
    unclear = run(bench, "requeue")
    assert (unclear.returncode, bench.waiting()) == (2, 0)
    assert "--all" in unclear.stderr
    assert run(bench, "requeue", "email-m1", "--all").returncode == 2
    assert run(bench, "requeue", "--error", "MailServer*").stdout == "250 requeued\n"
    assert bench.waiting() == 250
    assert ids(letters) == ["email-kept"]


def test_two_who_requeue_at_once_requeue_once(bench: Bench, letters: DeadLetters) -> None:
    found = [put(bench, letters, f"m{number}") for number in range(50)]
    done: list[bool] = []
    barrier = threading.Barrier(4)

    def everybody() -> None:
        with redis.Redis.from_url(bench.url) as client:
            barrier.wait()
            done.extend(DeadLetters(client).requeue(letter) for letter in found)

    threads = [threading.Thread(target=everybody) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sum(done), bench.waiting()) == (50, 50)


def test_discarding_asks_first(bench: Bench, letters: DeadLetters) -> None:
    put(bench, letters, "one")
    put(bench, letters, "two")
    refused = run(bench, "discard", "--all", stdin="n\n")
    assert (refused.returncode, len(ids(letters))) == (1, 2)
    assert "Remove 2 dead letters for good?" in refused.stderr
    assert run(bench, "discard", "email-one", "--yes").stdout == "1 discarded\n"
    assert run(bench, "discard", "--all", stdin="y\n").stdout.endswith("1 discarded\n")
    assert ids(letters) == []
    assert not bench.redis.exists("workerpool:dead-letters:email:messages", "workerpool:dead-letters:email:letters")


def test_what_is_exported_can_be_imported_byte_for_byte(bench: Bench, letters: DeadLetters) -> None:
    put(bench, letters, "one")
    poison = Letter(id="message-1", queue="email", list_key="email", error="UnreadableMessage", text="x", died_at=5.0)
    assert letters.put(poison, b"\xff\x00\xfe")
    before = {letter.id: letters.message(letter) for letter in letters.find(Filter())}
    written = run(bench, "export", "-o", "letters.jsonl")
    assert written.stderr == "2 exported\n"
    assert run(bench, "import", "letters.jsonl").stdout == "0 imported, 2 were there already\n"
    run(bench, "discard", "--all", "--yes")
    assert run(bench, "import", "letters.jsonl").stdout == "2 imported\n"
    assert {letter.id: letters.message(letter) for letter in letters.find(Filter())} == before
    lines = (bench.folder / "letters.jsonl").read_text()
    assert run(bench, "import", "-", stdin=lines).stdout == "0 imported, 2 were there already\n"


@pytest.mark.parametrize("line", ["nonsense", "{}", '{"letter": {}, "message": "x", "encoding": "utf-8"}', "5"])
def test_a_line_that_is_no_letter_is_named(bench: Bench, letters: DeadLetters, line: str) -> None:
    put(bench, letters, "one")
    good = run(bench, "export").stdout
    run(bench, "discard", "--all", "--yes")
    bad = run(bench, "import", "-", stdin=f"{good}\n{line}\n")
    assert bad.returncode == 1
    assert "line 3 is no dead letter" in bad.stderr
    assert "1 letters before it were imported" in bad.stderr
    assert "Traceback" not in bad.stderr
    assert ids(letters) == ["email-one"]


def test_a_redis_that_is_away_and_ages_that_are_none_are_told_in_one_line(bench: Bench) -> None:
    bench.url = "redis://user:secret@127.0.0.1:1/0"
    away = run(bench, "list")
    assert (away.returncode, away.stderr.count("\n")) == (1, 1)
    assert "WORKERPOOL_BROKER_URL" in away.stderr
    assert "secret" not in away.stderr
    age = run(bench, "list", "--since", "yesterday")
    assert (age.returncode, age.stderr.count("\n")) == (2, 1)
    assert "--since" in age.stderr


def test_what_is_too_old_or_too_much_goes(bench: Bench, letters: DeadLetters) -> None:
    now = time.time()
    for number in range(5):
        put(bench, letters, f"m{number}", died_at=now - number * 86_400)
    assert letters.trim(Keep(letters=100, days=2.5), now_s=now) == 2
    assert ids(letters) == ["email-m0", "email-m1", "email-m2"]
    assert letters.trim(Keep(letters=1, days=100), now_s=now) == 2
    assert ids(letters) == ["email-m0"]


def test_a_worker_keeps_no_more_than_it_may_and_says_so(bench: Bench, letters: DeadLetters) -> None:
    worker = bench.start(WORKERPOOL_KEEP_DEAD_LETTERS=2).ready()
    for number in range(4):
        bench.producer.email(Email(id=f"m{number}", to="not-an-address", subject="s", text="t"))
    until(lambda: len(worker.outcomes()) == 4 and bench.all_done(), what=bench.logs)
    assert ids(letters) == ["email-m3", "email-m2"]
    assert worker.said("has more than 2 dead letters")


def test_a_second_death_of_the_same_job_is_a_letter_of_its_own(bench: Bench, letters: DeadLetters) -> None:
    worker = bench.start().ready()
    for subject in ("first", "second"):
        arguments = {"id": "m", "to": "not-an-address", "subject": subject, "text": "t"}
        bench.celery.send_task("email.send", kwargs=arguments, task_id="email-m", queue="email")
    until(lambda: len(ids(letters)) == 2 and bench.all_done(), what=bench.logs)
    assert sorted(ids(letters)) == ["email-m", "email-m~2"]
    assert run(bench, "requeue", "email-m~2").stdout == "1 requeued\n"
    until(lambda: worker.outcomes().count(("email-m", "failed")) == 3, what=bench.logs)
