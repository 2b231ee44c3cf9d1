from __future__ import annotations

from pathlib import Path

import pytest

from workerpool_worker.settings import SettingsError, load_settings, settings_table, without_password

pytestmark = pytest.mark.unit


def test_defaults_stand_alone() -> None:
    settings = load_settings({})
    assert settings.queues == ("email", "order", "payment", "maintenance")
    assert settings.database == f"sqlite:///{Path('workerpool.db').absolute()}"
    assert settings.invoice_dir is None
    assert (settings.drain_seconds, settings.visibility_timeout_seconds) == (20, 600)


@pytest.mark.parametrize(("grace", "drain"), [("30", 20), ("12", 6), ("2", 1), ("600", 590)])
def test_some_of_the_grace_is_kept_for_requeueing(grace: str, drain: float) -> None:
    assert load_settings({"WORKERPOOL_GRACE_SECONDS": grace}).drain_seconds == drain


def test_our_broker_name_wins_over_the_common_one() -> None:
    assert load_settings({"BROKER_URL": "redis://a"}).broker_url == "redis://a"
    both = {"BROKER_URL": "redis://a", "WORKERPOOL_BROKER_URL": "redis://b"}
    assert load_settings(both).broker_url == "redis://b"


def test_options_win_over_the_environment_unless_absent() -> None:
    environ = {"WORKERPOOL_CONCURRENCY": "3", "WORKERPOOL_QUEUES": "email, order"}
    settings = load_settings(environ, concurrency=5, queues=None)
    assert (settings.concurrency, settings.queues) == (5, ("email", "order"))


def test_postgresql_is_reached_through_psycopg() -> None:
    assert load_settings({"DATABASE_URL": "postgresql://u@h/d"}).database == "postgresql+psycopg://u@h/d"


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("WORKERPOOL_CONCURRENCY", "many", "valid integer"),
        ("WORKERPOOL_CONCURRENCY", "0", "greater than or equal to 1"),
        ("WORKERPOOL_QUEUES", "email,,order", "queue names"),
        ("WORKERPOOL_BROKER_URL", "localhost:6379", "must be a URL such as redis://"),
        ("DATABASE_URL", "mysql://h/d", "must be a URL such as sqlite:"),
        ("WORKERPOOL_POOL", "No Spaces", "pattern"),
        ("SMTP_TLS", "yes", "'none', 'starttls' or 'implicit'"),
        ("MAIL_FROM", "nobody", "pattern"),
        ("PAYMENT_PROVIDER", "barter", "'sandbox', 'stripe' or 'paystack'"),
        ("WORKERPOOL_SOFT_TIME_LIMIT_SECONDS", "300", "below WORKERPOOL_HARD_TIME_LIMIT_SECONDS"),
    ],
)
def test_a_refused_value_is_one_line_that_names_its_variable(variable: str, value: str, says: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings({variable: value})
    text = str(refused.value)
    assert text.startswith(f"{variable}: ")
    assert says in text
    assert "\n" not in text


def test_no_secret_is_shown() -> None:
    environ = {
        "SMTP_PASSWORD": "hunter2",
        "BROKER_URL": "redis://user:hunter2@h:6379/0",
        "DATABASE_URL": "postgresql://u:hunter2@h/d?password=hunter2",
    }
    rows = settings_table(load_settings(environ), environ)
    assert "hunter2" not in repr(rows)
    assert {row.variable for row in rows if row.source == "environment"} == set(environ)
    with pytest.raises(SettingsError) as refused:
        load_settings({"BROKER_URL": "http://user:hunter2@h"})
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:pw@h:1/0", "redis://:***@h:1/0"),
        ("redis://u:p@w@h:1/0", "redis://u:***@h:1/0"),
        ("redis://h:1", "redis://h:1"),
        ("sqlite:////a/b.db", "sqlite:////a/b.db"),
        ("postgresql://h/d?password=x", "postgresql://h/d?***"),
    ],
)
def test_urls_without_their_passwords(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_the_documentation_names_every_setting() -> None:
    docs = Path(__file__).parents[3] / "docs"
    text = "".join(path.read_text() for path in docs.glob("*.md"))
    missing = [row.variable for row in settings_table(load_settings({}), {}) if f"`{row.variable}`" not in text]
    assert missing == []
