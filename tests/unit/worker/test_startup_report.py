"""What a worker says of itself when it starts: what is there, what is missing, and no secret."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from workerpool_worker.monitoring import logs, startup
from workerpool_worker.monitoring.capabilities import Part, Report
from workerpool_worker.settings import Settings, load_settings

pytestmark = pytest.mark.unit

NOTHING_MISSING = {
    "WORKERPOOL_POOL": "shop",
    "WORKERPOOL_NAMESPACE": "web",
    "WORKERPOOL_HEALTH_PORT": "8080",
    "BROKER_URL": "rediss://worker:broker-pass-1@redis.example:6380/2",
    "DATABASE_URL": "postgresql://shop:database-pass-1@postgres:5432/orders?sslpassword=option-pass-1",
    "SMTP_HOST": "mail.example",
    "SMTP_PORT": "587",
    "SMTP_TLS": "starttls",
    "SMTP_USERNAME": "shop",
    "SMTP_PASSWORD": "mail-pass-1",
    "PAYMENT_PROVIDER": "stripe",
    "STRIPE_API_KEY": "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
}


def described(**environ: str) -> Report:
    return startup.describe(load_settings(environ))


def part(name: str, **environ: str) -> dict[str, object]:
    [found] = [one for one in described(**environ).parts if one.name == name]
    return found.facts()


def missing(**environ: str) -> tuple[str, ...]:
    return described(**environ).missing


def test_a_worker_that_has_everything_misses_nothing() -> None:
    report = described(**NOTHING_MISSING)
    assert report.missing == ()
    assert report.pool == "web/shop"
    fields = report.fields()
    assert fields["broker"] == {"address": "redis.example:6380", "tls": "on", "user": "worker", "database": 2}
    assert fields["database"] == {"kind": "postgresql", "host": "postgres:5432", "name": "orders"}
    assert fields["payments"] == {"provider": "stripe", "mode": "live", "url": "https://api.stripe.com"}
    assert fields["email"] == {"transport": "smtp", "host": "mail.example:587", "tls": "starttls"}
    assert fields["recovery"] == {"on": True, "pool": "web/shop"}
    assert fields["health"] == {"port": 8080, "paths": "/healthz /readyz /metrics"}


def test_no_secret_is_said() -> None:
    report = described(**NOTHING_MISSING)
    said = json.dumps(report.fields()) + report.block()
    assert "pass-1" not in said
    assert "4eC39" not in said


def test_what_a_worker_without_settings_misses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert missing() == (
        "no WORKERPOOL_POOL: the jobs of a worker that dies wait for 600 s until another takes them",
        f"no DATABASE_URL: SQLite in {tmp_path / 'workerpool.db'}; several machines need PostgreSQL",
        "PAYMENT_PROVIDER is sandbox: no money moves",
        f"no SMTP_HOST: mail goes to {load_settings({}).smtp_host}:{load_settings({}).smtp_port}",
        "no WORKERPOOL_HEALTH_PORT: no probes and no metrics",
    )


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"WORKERPOOL_QUEUES": "sms", "SMS_PROVIDER": "sandbox"}, "text messages are noted and not sent"),
        ({"WORKERPOOL_QUEUES": "emial"}, "no job known here goes to the queue emial by itself"),
        ({"WORKERPOOL_QUEUES": "emial"}, "text messages are noted and not sent"),
        ({"SMTP_HOST": "mail", "SMTP_USERNAME": "u", "SMTP_PASSWORD": "p"}, "SMTP_TLS is none: the password"),
        ({"BROKER_URL": "rediss://h?ssl_cert_reqs=none"}, "turns a check of the broker's certificate off"),
        ({"WORKERPOOL_JOB_STATUS": "off"}, "WORKERPOOL_JOB_STATUS is off"),
    ],
)
def test_what_else_may_be_missing(environ: dict[str, str], says: str) -> None:
    assert [sentence for sentence in missing(**environ) if says in sentence]
    assert not [sentence for sentence in missing(**NOTHING_MISSING) if says in sentence]


def test_nobody_is_told_of_what_the_queues_do_not_need() -> None:
    said = " ".join(missing(WORKERPOOL_QUEUES="sms"))
    assert "PAYMENT_PROVIDER" not in said
    assert "SMTP_HOST" not in said
    assert "SMS_PROVIDER" not in " ".join(missing())


@pytest.mark.parametrize(
    ("environ", "mode"),
    [
        ({}, "sandbox"),
        ({"PAYMENT_PROVIDER": "stripe", "STRIPE_API_KEY": "sk_test_1"}, "test"),
        ({"PAYMENT_PROVIDER": "stripe", "STRIPE_API_KEY": "rk_live_1"}, "live"),
        ({"PAYMENT_PROVIDER": "stripe", "STRIPE_API_KEY": "odd"}, "unknown"),
        ({"PAYMENT_PROVIDER": "paystack", "PAYSTACK_SECRET_KEY": "sk_live_1"}, "live"),
    ],
)
def test_the_mode_of_payments(environ: dict[str, str], mode: str) -> None:
    assert part("payments", **environ)["mode"] == mode
    assert startup.fixed(load_settings(environ))["info"]["payments_mode"] == mode


def test_the_kinds_of_databases(tmp_path: Path) -> None:
    assert part("database", WORKERPOOL_STATE_DIR=str(tmp_path)) == {
        "kind": "sqlite",
        "file": f"{tmp_path}/workerpool.db",
        "scope": "one machine only",
    }
    assert part("database", DATABASE_URL="sqlite:////data/a%20b.db")["file"] == "/data/a b.db"
    assert part("database", DATABASE_URL="sqlite://")["file"] == "memory"
    assert part("database", DATABASE_URL="postgresql+psycopg://h/d") == {
        "kind": "postgresql",
        "host": "h",
        "name": "d",
    }


def test_other_ways_to_send(tmp_path: Path) -> None:
    sendgrid = {"EMAIL_TRANSPORT": "sendgrid", "SENDGRID_API_KEY": "SG.x", "EMAIL_TEMPLATE_DIR": str(tmp_path)}
    assert part("email", **sendgrid) == {
        "transport": "sendgrid",
        "url": "https://api.sendgrid.com",
        "templates": str(tmp_path),
    }
    sns = {"SMS_PROVIDER": "sns", "AWS_REGION": "r", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    assert part("sms", **sns) == {"provider": "sns", "mode": "live"}


def test_hooks_and_schedules_are_named() -> None:
    hooks = '[{"name": "tell", "on": "failed", "webhook": "https://hooks.example/secret-path"}]'
    assert part("extras", WORKERPOOL_HOOKS=hooks)["hooks"] == ("tell",)
    assert "secret-path" not in json.dumps(described(WORKERPOOL_HOOKS=hooks).fields())
    assert "recover" in str(part("extras")["schedules"])


def test_the_block_is_for_people() -> None:
    lines = described(**NOTHING_MISSING, WORKERPOOL_QUEUES="email,payment").block().splitlines()
    assert lines[0] == f"worker starting: {startup.own_version()}, pool web/shop"
    assert "  broker    address redis.example:6380, tls on, user worker, database 2" in lines
    assert any(line.startswith("  limits    soft seconds 240, hard seconds 300,") for line in lines)
    assert any(line.startswith("  work      queues email,payment, concurrency 1,") for line in lines)
    without = described()
    assert [line for line in without.block().splitlines() if line.startswith("  missing   ")] == [
        f"  missing   {sentence}" for sentence in without.missing
    ]


def test_a_part_with_nothing_to_say_says_so() -> None:
    report = Report(version="1", pool="", parts=(Part(name="extras", says={"a": None, "b": (), "c": ""}),))
    assert report.block().splitlines() == ["worker starting: 1, pool (none)", "  extras    none"]
    assert Part(name="x", says={"on": False, "number": 0}).line() == "off, number 0"


def test_it_is_one_line_of_json_and_a_block_of_text(caplog: pytest.LogCaptureFixture) -> None:
    settings: Settings = load_settings(NOTHING_MISSING)
    with caplog.at_level(logging.INFO, "workerpool_worker"):
        startup.say(settings)
    [record] = caplog.records
    line = json.loads(logs.JsonLines().format(record))
    assert (line["message"], line["pool"], line["missing"]) == ("worker starting", "web/shop", [])
    assert "block" not in line
    assert logs.TextLines().format(record).partition("INFO    ")[2] == startup.describe(settings).block()
