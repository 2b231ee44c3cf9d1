"""What a log line says of the job it was written in, and what none may say."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import pytest

from workerpool_worker.monitoring import logs
from workerpool_worker.monitoring.redaction import Redaction, secrets_of
from workerpool_worker.runtime import process
from workerpool_worker.settings import SettingRow, Settings, load_settings, settings_table

pytestmark = pytest.mark.unit

JOB = {"job_id": "order-1", "correlation_id": "order-1", "task": "order.process", "queue": "order"}
KEY = "sk_live_51HqLyjWDarjtT1zdp7dc"
SECRETS = {
    "SMTP_PASSWORD": 'pa"ss\\word-1',
    "SENDGRID_API_KEY": "SG.aaaaaaaaaaaaaaaaaaaaaa.bbbbbbbb",
    "TWILIO_AUTH_TOKEN": "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
    "TWILIO_API_SECRET": "twilio-api-secret-9",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "AWS_SESSION_TOKEN": "FwoGZXIvYXdzEXAMPLETOKEN==",
    "STRIPE_API_KEY": KEY,
    "PAYSTACK_SECRET_KEY": "sk_test_0123456789abcdef",
}
ADDRESSES = {
    "BROKER_URL": "redis://worker:broker-pass-1@redis:6379/0",
    "DATABASE_URL": "postgresql://shop:database%2Fpass-1@postgres/shop",
}


@pytest.fixture
def configured() -> Iterator[Any]:
    """A function that configures the logging of these settings, and gives what is written."""
    root = logging.getLogger()
    names = [*logs._TALKATIVE, "celery.task", "celery.app.trace", "celery.worker.request"]
    names.append("celery.worker.consumer.consumer")
    before = root.handlers[:], root.level, {name: logging.getLogger(name).level for name in names}

    def configure(**environ: str) -> io.StringIO:
        logs.configure(load_settings(environ))
        stream = io.StringIO()
        [handler] = root.handlers
        assert isinstance(handler, logging.StreamHandler)
        handler.setStream(stream)
        return stream

    yield configure
    logging.captureWarnings(capture=False)
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    for name, level in before[2].items():
        logging.getLogger(name).setLevel(level)


def refuse(text: str) -> None:
    raise ValueError(text)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_every_line_of_a_job_says_which_job_it_is_whatever_its_logger(configured: Any) -> None:
    stream = configured()
    with logs.job_fields(**JOB):
        logging.getLogger("shop").info("packed %d parcels", 2, extra={"carrier": "post"})
        logging.getLogger("celery.task.shop").info("by Celery's own logger")
    logging.getLogger("shop").info("later")
    first, second, later = lines(stream)
    assert first | JOB == first
    assert (first["message"], first["logger"], first["carrier"]) == ("packed 2 parcels", "shop", "post")
    assert second | JOB == second
    assert not set(JOB) & set(later)


def test_a_job_of_no_chain_is_its_own_correlation(configured: Any) -> None:
    stream = configured()
    with logs.job_fields(job_id="a", correlation_id=None, task="t", queue=None):
        logging.getLogger("shop").warning("x")
    [line] = lines(stream)
    assert (line["correlation_id"], "queue" in line) == ("a", False)


def test_jobs_in_jobs_come_apart_again(configured: Any) -> None:
    """As with a job that runs another inline."""
    stream = configured()
    with logs.job_fields(**JOB):
        with suppress(ValueError), logs.job_fields(**{**JOB, "job_id": "inner"}):
            logging.getLogger("shop").info("x")
            refuse("gone")
        logging.getLogger("shop").info("y")
    assert [line["job_id"] for line in lines(stream)] == ["inner", "order-1"]


def log_in_thread() -> None:
    thread = threading.Thread(target=lambda: logging.getLogger("shop").info("x"))
    thread.start()
    thread.join()


def test_threads_of_a_job_are_its_own_in_a_child_only(configured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = configured()
    with logs.job_fields(**JOB):
        log_in_thread()
    monkeypatch.setattr(process, "_main_pid", 1)  # so this process is a child
    with logs.job_fields(**JOB):
        log_in_thread()
    log_in_thread()
    assert [line.get("job_id") for line in lines(stream)] == [None, "order-1", None]


def test_what_a_line_says_itself_wins_over_the_job_and_never_over_the_line(configured: Any) -> None:
    stream = configured()
    with logs.job_fields(**JOB):
        logging.getLogger("shop").info("x", extra={"fields": {"job_id": "other", "message": "forged", "level": "no"}})
    [line] = lines(stream)
    assert (line["job_id"], line["message"], line["level"]) == ("other", "x", "info")


def test_text_lines_stay_readable(configured: Any) -> None:
    stream = configured(WORKERPOOL_LOG_FORMAT="text")
    with logs.job_fields(**JOB):
        logging.getLogger("shop").info("packed")
        try:
            refuse("bad sku")
        except ValueError:
            logging.getLogger("shop").exception("not packed")
    logging.getLogger("shop").info("x", extra={"fields": {"a": 1}, "block": "one\n  two"})
    first, second, *rest = stream.getvalue().splitlines()
    assert first.partition(" ")[2] == "INFO    packed job_id=order-1 task=order.process queue=order"
    assert "ERROR   not packed job_id=order-1" in second
    assert rest[0] == "Traceback (most recent call last):"
    assert rest[-3] == "ValueError: bad sku"
    assert (rest[-2].partition(" ")[2], rest[-1]) == ("INFO    one", "  two")


@pytest.mark.parametrize(
    ("level", "logger", "at", "shown"),
    [
        ("INFO", "shop", "INFO", True),
        ("INFO", "shop", "DEBUG", False),
        ("INFO", "celery.bootsteps", "INFO", False),
        ("INFO", "sqlalchemy.engine", "WARNING", True),
        ("INFO", "celery.app.trace", "ERROR", False),
        ("DEBUG", "shop", "DEBUG", True),
        ("DEBUG", "celery.app.trace", "INFO", True),
        ("DEBUG", "kombu", "DEBUG", False),
        ("WARNING", "celery.task", "INFO", False),
        ("ERROR", "urllib3.connectionpool", "WARNING", False),
    ],
)
def test_who_is_heard_at_which_level(configured: Any, level: str, logger: str, at: str, shown: bool) -> None:
    stream = configured(WORKERPOOL_LOG_LEVEL=level)
    logging.getLogger(logger).log(getattr(logging, at), "x")
    assert bool(stream.getvalue()) is shown


@pytest.mark.parametrize("form", ["json", "text"])
def test_no_secret_of_the_settings_is_in_any_line(configured: Any, form: str) -> None:
    environ = SECRETS | ADDRESSES
    stream = configured(WORKERPOOL_LOG_FORMAT=form, **environ)
    settings = load_settings(environ)
    log = logging.getLogger("shop")
    log.info("settings: %r", settings)
    for value in environ.values():
        log.info("said: %s and %r", value, {"key": value}, extra={"fields": {"value": value}})
        try:
            refuse(f"refused: {value}")
        except ValueError:
            log.exception("failed")
    written = stream.getvalue()
    found = [name for name, value in SECRETS.items() for form in (value, repr(value)[1:-1]) if form in written]
    assert found == []
    assert "broker-pass-1" not in written
    assert "database%2Fpass-1" not in written
    assert "database/pass-1" not in written
    assert "redis://worker:***@redis:6379/0" in written


def test_every_setting_that_is_marked_as_secret_is_one() -> None:
    fields = Settings.model_fields.items()
    marked = {name: f"secret-of-{name}" for name, field in fields if "'secret': True" in str(field.json_schema_extra)}
    assert set(SECRETS) <= {row.variable for row in settings_table(load_settings({}), {}) if row_is(row, marked)}
    settings = Settings.model_construct(None, **marked)
    assert secrets_of(settings) == set(marked.values())
    assert "secret-of-" not in repr(settings)


def row_is(row: SettingRow, names: Mapping[str, str]) -> bool:
    return any(row.variable in str(Settings.model_fields[name].json_schema_extra) for name in names)


def test_no_secret_is_in_the_settings_own_text() -> None:
    settings = load_settings(SECRETS | ADDRESSES)
    for text in (repr(settings), str(settings), f"{settings}"):
        assert not [value for value in SECRETS.values() if value in text or repr(value) in text]
        assert "pass-1" not in text
    assert "concurrency=1" in repr(settings)


def test_the_url_of_a_webhook_is_a_secret(configured: Any) -> None:
    url = "https://hooks.example/services/T000/B000/XXXX?key=1"
    stream = configured(WORKERPOOL_HOOKS=json.dumps([{"name": "tell", "on": "failed", "webhook": url}]))
    log = logging.getLogger("urllib3")
    log.warning("Retrying %s", url)
    log.warning("Connection lost: /services/T000/B000/XXXX?key=1 on hooks.example")
    assert [line["message"] for line in lines(stream)] == ["Retrying ***", "Connection lost: *** on hooks.example"]


@pytest.mark.parametrize(
    ("line", "clean"),
    [
        ("amqp://u:p@h/x failed", "amqp://u:***@h/x failed"),
        ("redis://:p@w@h:1", "redis://:***@h:1"),
        ("sentinel://h?sentinel_password=abc&db=1", "sentinel://h?sentinel_password=***&db=1"),
        ("http://mail:8025/api?to=a@example.org", "http://mail:8025/api?to=a@example.org"),
        ("https://user@example.org/x", "https://user@example.org/x"),
        ("write to ada@example.org: now", "write to ada@example.org: now"),
    ],
)
def test_passwords_of_any_url_are_masked_and_nothing_else(line: str, clean: str) -> None:
    assert Redaction().clean(line) == clean


def test_a_word_is_no_secret() -> None:
    assert Redaction({"shop", "longer-one"}).clean("pool shop, longer-one") == "pool shop, ***"
