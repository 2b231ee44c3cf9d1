"""Where a job's message goes when its try does not end well: real workers that are killed, hang, and meet nonsense."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.integration.worker.bench import Bench, Worker, until
from tests.support.smtp import Mailbox
from workerpool_worker.messages.dead_letters import DeadLetters, Filter
from workerpool_worker.messages.letters import Letter
from workerpool_worker.models import Email

pytestmark = pytest.mark.integration

JOBS = Path(__file__).parent.parent.parent / "support" / "own_jobs"
TEN_MB = 10 * 1024 * 1024


@pytest.fixture
def letters(bench: Bench) -> Iterator[DeadLetters]:
    client = redis.Redis.from_url(bench.url)
    yield DeadLetters(client)
    client.close()


def started(bench: Bench, **more: object) -> Worker:
    trouble: dict[str, object] = {"PYTHONPATH": JOBS, "WORKERPOOL_JOBS": "trouble:JOBS"}
    return bench.start(**(trouble | more))


def send(bench: Bench, kind: str, *, name: str = "t") -> Path:
    """Ask for trouble; the file that gets a line a try."""
    file = bench.folder / f"{name}.tries"
    arguments = {"id": name, "kind": kind, "file": str(file)}
    bench.celery.send_task("trouble.make", kwargs=arguments, task_id=f"trouble-{name}", queue="email")
    return file


def tries(file: Path) -> int:
    return len(file.read_text().splitlines()) if file.exists() else 0


def all_of(letters: DeadLetters) -> list[Letter]:
    return list(letters.find(Filter()))


def mail(name: str) -> Email:
    return Email(id=name, to="a@example.org", subject="s", text="t")


def test_a_job_that_is_put_off_lies_in_the_delayed_set_and_in_no_worker(bench: Bench, mailbox: Mailbox) -> None:
    mailbox.answers["later@example.org"] = "451 not now"
    slow = bench.start(WORKERPOOL_RETRY_POLICIES="email.*: attempts=5, every=3s").ready()
    bench.producer.email(Email(id="m", to="later@example.org", subject="s", text="t"))
    until(lambda: bench.redis.zcard("workerpool:delayed:email") == 1, what=bench.logs)
    until(lambda: bench.unacked() == 0, what=bench.logs)
    assert bench.redis.llen("email") == 0
    slow.kill_group()
    del mailbox.answers["later@example.org"]
    bench.start().ready()
    until(lambda: mailbox.ids() == ["email-m"], what=bench.logs)
    until(lambda: bench.redis.zcard("workerpool:delayed:email") == 0, what=bench.logs)
    assert bench.redis.hlen("workerpool:delayed:email:messages") == 0


def test_a_job_of_any_celery_producer_waits_for_its_time_in_the_delayed_set(bench: Bench, mailbox: Mailbox) -> None:
    bench.start().ready()
    due_s = time.time() + 3
    arguments = mail("timed").arguments()
    bench.celery.send_task("email.send", kwargs=arguments, task_id="email-timed", queue="email", countdown=3)
    until(lambda: bench.redis.zcard("workerpool:delayed:email") == 1, what=bench.logs)
    assert bench.unacked() == 0
    until(lambda: bool(mailbox.ids()), what=bench.logs)
    assert due_s - 0.2 <= time.time() <= due_s + 10


def test_a_job_that_kills_its_child_is_given_up_after_three_and_others_go_on(
    bench: Bench, mailbox: Mailbox, letters: DeadLetters
) -> None:
    worker = started(bench).ready()
    file = send(bench, "kill child")
    bench.producer.email(mail("good"))
    until(lambda: len(all_of(letters)) == 1, timeout_s=40, what=bench.logs)
    (letter,) = all_of(letters)
    assert tries(file) == 3
    assert (letter.job_id, letter.task, letter.queue) == ("trouble-t", "trouble.make", "email")
    assert (letter.error, letter.attempts, letter.losses) == ("WorkerLostError", 3, 3)
    assert "WORKERPOOL_MAX_LOSSES" in letter.text
    until(lambda: mailbox.ids() == ["email-good"] and bench.all_done(), what=bench.logs)
    assert worker.process.poll() is None
    assert worker.outcomes().count(("trouble-t", "cut_off")) == 2
    assert ("trouble-t", "failed") in worker.outcomes()


def test_a_job_that_kills_its_whole_worker_is_given_up_after_three_workers(bench: Bench, letters: DeadLetters) -> None:
    file = send(bench, "kill worker")
    for _ in range(3):
        worker = started(bench)
        worker.process.wait(30)
    started(bench).ready()
    until(lambda: len(all_of(letters)) == 1, timeout_s=30, what=bench.logs)
    (letter,) = all_of(letters)
    assert tries(file) == 3
    assert (letter.error, letter.losses) == ("WorkerLost", 3)
    assert bench.all_done()


def test_a_job_that_outlives_the_hard_limit_is_given_up_after_as_many_as_allowed(
    bench: Bench, letters: DeadLetters
) -> None:
    worker = started(
        bench,
        WORKERPOOL_SOFT_TIME_LIMIT_SECONDS=1,
        WORKERPOOL_HARD_TIME_LIMIT_SECONDS=2,
        WORKERPOOL_MAX_LOSSES=2,
    ).ready()
    file = send(bench, "hang")
    until(lambda: len(all_of(letters)) == 1, timeout_s=40, what=bench.logs)
    (letter,) = all_of(letters)
    assert (tries(file), letter.error, letter.losses) == (2, "TimeLimitExceeded", 2)
    until(bench.all_done, what=bench.logs)
    assert worker.process.poll() is None


@pytest.mark.parametrize("kind", ["raise", "unpicklable"])
def test_an_error_nobody_foresaw_gets_few_tries_and_leaves_its_traceback(
    bench: Bench, letters: DeadLetters, kind: str
) -> None:
    started(bench, WORKERPOOL_UNKNOWN_ERROR_RETRIES=2).ready()
    file = send(bench, kind)
    until(lambda: len(all_of(letters)) == 1, timeout_s=30, what=bench.logs)
    (letter,) = all_of(letters)
    assert tries(file) == 3
    assert letter.error == ("KeyError" if kind == "raise" else "Unpicklable")
    assert 'trouble.py", line' in letter.trace
    assert letter.attempts == 3


def poison(bench: Bench) -> dict[str, str | bytes]:
    """Messages that are none, by what their letters will say."""
    bench.celery.send_task("email.send", kwargs={"id": "x"}, task_id="wrong", queue="poison")
    bench.celery.send_task("email.nonsense", task_id="unknown", queue="poison")
    bench.celery.send_task("email.send", kwargs={"id": "x"}, task_id="pickle", queue="poison")
    bench.celery.send_task("email.send", kwargs={"id": "x", "text": "x" * TEN_MB}, task_id="large", queue="poison")
    raw: Any = bench.redis.lrange("poison", 0, -1)
    bench.redis.delete("poison")
    large, pickled, unknown, wrong = [json.loads(message) for message in raw]
    pickled["content-type"] = "application/x-python-serialize"
    headless = {name: value for name, value in wrong.items() if name != "headers"}
    taskless = {**wrong, "headers": {"id": "taskless"}}
    for message in (large, pickled, unknown, wrong, headless, taskless):
        message["properties"]["delivery_info"]["routing_key"] = "email"
    return {
        "InvalidJobError": json.dumps(wrong),
        "UnknownTask": json.dumps(unknown),
        "ContentDisallowed": json.dumps(pickled),
        "too large": json.dumps(large),
        "headless": json.dumps(headless),
        "taskless": json.dumps(taskless),
        "not JSON": "nonsense",
        "bytes": b"\xff\xfe\x00",
        "a list": "[]",
        "no properties": '{"body": "x"}',
        "a number for a tag": '{"properties": {"delivery_tag": 5, "delivery_info": {}}}',
    }


HOSTILE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no id": lambda message: message["headers"].pop("id"),
    "a list for a task": lambda message: message["headers"].update(task=["email.send"]),
    "a list for an id": lambda message: message["headers"].update(id=["x"]),
    "no arguments": lambda message: message.update(body="WzEsMl0="),
    "a number for a body": lambda message: message.update(body="NQ=="),
    "no base64": lambda message: message.update(body="%%%"),
    "an encoding nobody knows": lambda message: message["properties"].update(body_encoding="foo"),
    "a list for headers": lambda message: message.update(headers=[]),
    "no headers": lambda message: message.update(headers=None),
    "a number for an eta": lambda message: message["headers"].update(eta=5),
    "a word for an eta": lambda message: message["headers"].update(eta="tomorrow"),
    "stamps that are none": lambda message: message["headers"].update(stamped_headers=5),
    "a date that is none": lambda message: message["headers"].update(x={"__type__": "datetime", "__value__": "x"}),
}


def hostile(bench: Bench, name: str) -> str:
    """A message that is one, but for one thing."""
    bench.celery.send_task("email.send", kwargs=mail("h").arguments(), task_id="hostile", queue="hostile")
    raw: Any = bench.redis.rpop("hostile")
    message = json.loads(raw)
    message["properties"]["delivery_info"]["routing_key"] = "email"
    HOSTILE[name](message)
    return json.dumps(message)


def test_a_message_that_celery_stumbles_over_goes_to_the_dead_letters_and_disturbs_nobody(
    bench: Bench, mailbox: Mailbox, letters: DeadLetters
) -> None:
    worker = started(bench, WORKERPOOL_CONCURRENCY=2).ready()
    gate = bench.folder / "gate"
    file = send(bench, f"until {gate}")
    until(lambda: tries(file) == 1, what=bench.logs)
    for number, name in enumerate(HOSTILE, start=1):
        bench.redis.lpush("email", hostile(bench, name))
        until(lambda: len(all_of(letters)) == number, what=lambda: (name, bench.logs()))  # noqa: B023 - called at once
    bench.producer.email(mail("good"))
    until(lambda: mailbox.ids() == ["email-good"], what=bench.logs)
    gate.touch()
    until(bench.all_done, what=bench.logs)
    assert tries(file) == 1
    assert worker.process.poll() is None
    assert not worker.said("lost the broker")
    assert {letter.queue for letter in all_of(letters)} == {"email"}


@pytest.mark.parametrize("message", [{"priority": 1e999}, {"timelimit": ["x", "y"]}, {"timelimit": [1e9, 1e9]}])
def test_a_job_with_numbers_that_are_too_large_is_done_all_the_same(
    bench: Bench, mailbox: Mailbox, message: dict[str, Any]
) -> None:
    bench.celery.send_task("email.send", kwargs=mail("m").arguments(), task_id="email-m", queue="hostile")
    raw: Any = bench.redis.rpop("hostile")
    sent = json.loads(raw)
    sent["properties"]["delivery_info"]["routing_key"] = "email"
    sent["properties"].update({name: value for name, value in message.items() if name == "priority"})
    sent["headers"].update({name: value for name, value in message.items() if name != "priority"})
    bench.redis.lpush("email", json.dumps(sent).replace("Infinity", "1e999"))
    worker = bench.start().ready()
    until(lambda: mailbox.ids() == ["email-m"] and bench.all_done(), what=bench.logs)
    assert worker.process.poll() is None


def test_a_job_sent_through_an_exchange_of_its_own_comes_back_to_the_queue_it_was_taken_from(
    bench: Bench, mailbox: Mailbox, letters: DeadLetters
) -> None:
    gate = bench.folder / "gate"
    file = send(bench, f"until {gate}")
    raw: Any = bench.redis.rpop("email")
    sent = json.loads(raw)
    sent["properties"]["delivery_info"].update(exchange="shop", routing_key="shop.mail")
    bench.redis.lpush("email", json.dumps(sent))
    killed = started(bench).ready()
    until(lambda: tries(file) == 1, what=bench.logs)
    killed.kill_group()
    drained = started(bench, WORKERPOOL_GRACE_SECONDS=2).ready()
    until(lambda: tries(file) == 2, timeout_s=30, what=bench.logs)
    drained.terminate()
    drained.exit_status()
    gate.touch()
    started(bench).ready()
    until(lambda: tries(file) == 3 and bench.all_done(), timeout_s=30, what=bench.logs)
    assert all_of(letters) == []


@pytest.mark.parametrize("skew_s", [60, -60])
def test_a_worker_whose_clock_is_wrong_runs_delayed_and_limited_jobs_when_redis_says(
    bench: Bench, mailbox: Mailbox, skew_s: int
) -> None:
    limits = {"WORKERPOOL_RATE_LIMITS": "queue:email=2/s", "PYTHONPATH": JOBS / "skew", "SKEW_S": skew_s}
    bench.start(**limits).ready()
    began = time.monotonic()
    bench.producer.send_many([mail(f"m{number}") for number in range(6)])
    until(lambda: len(mailbox.ids()) == 6, timeout_s=40, what=bench.logs)
    assert time.monotonic() - began >= 2.4
    began = time.monotonic()
    bench.producer.send(mail("later"), delay_s=2)
    until(lambda: len(mailbox.ids()) == 7, timeout_s=40, what=bench.logs)
    assert time.monotonic() - began >= 1.9
    calls: Any = bench.redis.info("commandstats")
    assert int(calls["cmdstat_evalsha"]["calls"]) < 3_000, "jobs went round and round"


def test_a_backlog_over_a_limit_does_not_hold_the_worker_up(bench: Bench) -> None:
    for part in range(10):
        bench.producer.send_many([mail(f"m{part}-{number}") for number in range(500)])
    worker = bench.start(WORKERPOOL_RATE_LIMITS="queue:email=1/m").ready()
    until(lambda: len(bench.holders()) == 1, what=bench.logs)
    until(lambda: bench.redis.zcard("workerpool:delayed:email") > 100, what=bench.logs)
    worker.terminate()
    assert worker.exit_status(10) == 0


@pytest.mark.parametrize("waiting", [True, False], ids=["waiting", "idle worker"])
def test_poison_goes_to_the_dead_letters_and_the_worker_lives(
    bench: Bench, mailbox: Mailbox, letters: DeadLetters, waiting: bool
) -> None:
    messages = poison(bench)
    if not waiting:
        worker = bench.start().ready()
    for number, message in enumerate(messages.values(), start=1):
        bench.redis.lpush("email", message)
        if not waiting:
            until(lambda: len(all_of(letters)) == number, what=bench.logs)  # noqa: B023 - called at once
    if waiting:
        worker = bench.start().ready()
    bench.producer.email(mail("good"))
    until(lambda: mailbox.ids() == ["email-good"], what=bench.logs)
    until(lambda: len(all_of(letters)) == len(messages), what=lambda: [letter.text for letter in all_of(letters)])
    assert worker.process.poll() is None
    until(bench.all_done, what=bench.logs)
    kept = {letters.message(letter) for letter in all_of(letters)}
    assert {
        message.encode() if isinstance(message, str) else message for message in list(messages.values())[6:]
    } <= kept
    errors = sorted(letter.error for letter in all_of(letters))
    assert errors.count("UnreadableMessage") == 8
    assert {"InvalidJobError", "UnknownTask", "ContentDisallowed"} < set(errors)
    assert not any("Traceback" in line["message"] or line["level"] == "critical" for line in worker.lines())


def test_a_redis_without_memory_keeps_the_job_until_it_can_be_buried(bench: Bench, letters: DeadLetters) -> None:
    worker = started(bench).ready()
    gate = bench.folder / "gate"
    file = send(bench, f"until {gate}")
    bench.producer.email(mail("not-an-address"))
    until(lambda: tries(file) == 1, what=bench.logs)
    bad = {**mail("bad").arguments(), "to": "not-an-address"}
    bench.celery.send_task("email.send", kwargs=bad, task_id="email-bad", queue="email")
    bench.redis.config_set("maxmemory", 1)
    try:
        gate.touch()
        until(lambda: worker.said("cannot"), what=bench.logs)
    finally:
        bench.redis.config_set("maxmemory", 0)
    until(lambda: [letter.job_id for letter in all_of(letters)] == ["email-bad"], what=bench.logs)
    until(bench.all_done, what=bench.logs)


def test_a_redis_without_memory_keeps_poison_too_and_the_worker_lives(
    bench: Bench, mailbox: Mailbox, letters: DeadLetters
) -> None:
    worker = bench.start().ready()
    bench.redis.lpush("email", "nonsense")
    until(lambda: len(all_of(letters)) == 1, what=bench.logs)
    lock = bench.redis.pipeline(transaction=True)
    lock.rpush("email", "more nonsense")
    lock.config_set("maxmemory", 1)
    lock.execute()
    try:
        until(lambda: worker.said("cannot fetch"), what=bench.logs)
        assert bench.redis.lrange("email", 0, -1) == ["more nonsense"]
    finally:
        bench.redis.config_set("maxmemory", 0)
    bench.producer.email(mail("good"))
    until(lambda: len(all_of(letters)) == 2 and mailbox.ids() == ["email-good"], what=bench.logs)


def test_what_a_worker_says_that_was_taken_for_dead_no_longer_counts(bench: Bench, letters: DeadLetters) -> None:
    frozen = started(bench).ready()
    gate = bench.folder / "gate"
    file = send(bench, f"until {gate}")
    until(lambda: tries(file) == 1, what=bench.logs)
    frozen.freeze()
    other = started(bench).ready()
    until(lambda: tries(file) == 2, timeout_s=30, what=bench.logs)
    held_by_other: Any = bench.redis.hkeys("workerpool:default:shop:unacked")
    frozen.thaw()
    # The frozen one's own job is still running there; it lets go of nothing that is not its own.
    frozen.kill_group()
    assert bench.redis.hkeys("workerpool:default:shop:unacked") == held_by_other
    gate.touch()
    until(lambda: ("trouble-t", "done") in other.outcomes() and bench.all_done(), what=bench.logs)
    assert all_of(letters) == []


def test_a_limit_holds_over_all_workers_and_nobody_sleeps(bench: Bench, mailbox: Mailbox) -> None:
    for _ in range(2):
        bench.start(WORKERPOOL_RATE_LIMITS="queue:email=4/s burst 2", WORKERPOOL_CONCURRENCY=2).ready()
    began = time.monotonic()
    bench.producer.send_many([mail(f"m{number}") for number in range(14)])
    until(lambda: bench.redis.zcard("workerpool:delayed:email") > 5, what=bench.logs)
    until(lambda: bench.redis.llen("email") == 0, what=bench.logs)
    until(lambda: len(mailbox.ids()) == 14, timeout_s=40, what=bench.logs)
    # 2 at once, then 12 with a quarter of a second between: never sooner.
    assert time.monotonic() - began >= 2.9
    assert sorted(mailbox.ids()) == sorted(f"email-m{number}" for number in range(14))
    until(bench.all_done, what=bench.logs)
