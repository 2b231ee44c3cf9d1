"""The worker's settings: one typed place, read from the environment once, at start.

Every setting knows its variables, its meaning and whether it is a secret, so the table that
`workerpool-worker settings` prints and the message of a refused value come from the same lines.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from pydantic import ConfigDict, StringConstraints, ValidationError, field_validator, model_validator

from workerpool_worker.setting import known_url
from workerpool_worker.setting import setting as _setting
from workerpool_worker.settings_messaging import MessagingSettings
from workerpool_worker.settings_payments import PaymentSettings

KNOWN_QUEUES = ("email", "sms", "order", "payment")
# Text messages cost money, so a worker is told to consume them.
_DEFAULT_QUEUES = ("email", "order", "payment")
_LONGEST_QUEUE_NAME = 253  # as in the WorkerPool resource
_BROKER_SCHEMES = ("redis", "rediss", "sentinel")
_DATABASE_SCHEMES = ("sqlite", "postgresql", "postgresql+psycopg")

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]


class SettingsError(ValueError):
    """A setting that cannot be used; the text is one line that names the variable."""


class SettingRow(NamedTuple):
    """One line of the settings table: which variable, its value (secrets masked), where it came from."""

    variable: str
    value: str
    source: str
    meaning: str


class Settings(MessagingSettings, PaymentSettings):
    """What one worker process runs with. Durations are in the unit their name ends with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    broker_url: str = _setting(
        "redis://127.0.0.1:6379/0", "WORKERPOOL_BROKER_URL", "BROKER_URL", meaning="Redis the jobs wait in"
    )
    state_dir: Path = _setting(Path(), "WORKERPOOL_STATE_DIR", meaning="folder of the default database")
    database_url: str = _setting("", "DATABASE_URL", meaning="SQL database of orders, effects and the sandbox's ledger")
    pool: Name | None = _setting(
        None, "WORKERPOOL_POOL", meaning="pool this worker is of; turns recovery in seconds on"
    )
    namespace: Name = _setting("default", "WORKERPOOL_NAMESPACE", meaning="namespace of the pool")
    worker_name: str = _setting(
        "", "WORKERPOOL_WORKER_NAME", meaning="name in heartbeats; made from pool, pid and host"
    )
    queues: tuple[str, ...] = _setting(_DEFAULT_QUEUES, "WORKERPOOL_QUEUES", meaning="queues to consume, with commas")
    concurrency: int = _setting(1, "WORKERPOOL_CONCURRENCY", meaning="jobs at a time", ge=1, le=256)
    soft_time_limit_seconds: float = _setting(
        240, "WORKERPOOL_SOFT_TIME_LIMIT_SECONDS", meaning="a job is told to stop after this", gt=0
    )
    hard_time_limit_seconds: float = _setting(
        300, "WORKERPOOL_HARD_TIME_LIMIT_SECONDS", meaning="a job is killed after this", gt=0, le=86_400
    )
    grace_seconds: float = _setting(
        30, "WORKERPOOL_GRACE_SECONDS", meaning="from SIGTERM to SIGKILL, as the platform has it", ge=2
    )
    max_retries: int = _setting(20, "WORKERPOOL_MAX_RETRIES", meaning="tries of a job after the first", ge=0, le=1000)
    retry_base_ms: int = _setting(500, "WORKERPOOL_RETRY_BASE_MS", meaning="first back-off, doubled every try", ge=1)
    retry_cap_ms: int = _setting(300_000, "WORKERPOOL_RETRY_CAP_MS", meaning="longest back-off", ge=1)
    invoice_dir: Path | None = _setting(
        None, "WORKERPOOL_INVOICE_DIR", meaning="folder that gets each invoice as a file too"
    )
    sandbox_latency_ms: int = _setting(0, "SANDBOX_LATENCY_MS", meaning="time a sandbox charge takes", ge=0, le=600_000)
    heartbeat_file: Path | None = _setting(
        None, "WORKERPOOL_HEARTBEAT_FILE", meaning="file touched while the worker lives, for probes"
    )
    health_port: int = _setting(
        0, "WORKERPOOL_HEALTH_PORT", meaning="port of /healthz and /readyz; 0: none", ge=0, le=65_535
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = _setting(
        "INFO", "WORKERPOOL_LOG_LEVEL", meaning="DEBUG also shows Celery's own lines"
    )
    log_format: Literal["json", "text"] = _setting("json", "WORKERPOOL_LOG_FORMAT", meaning="json or text lines")

    @field_validator("queues", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value

    @field_validator("queues")
    @classmethod
    def _some_queues(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or not all(value) or any(len(name) > _LONGEST_QUEUE_NAME for name in value):
            raise ValueError("must be queue names with commas between, such as email,order")
        return value

    @field_validator("broker_url")
    @classmethod
    def _broker(cls, value: str) -> str:
        return known_url(value, _BROKER_SCHEMES, "redis://host:6379/0")

    @field_validator("database_url")
    @classmethod
    def _database(cls, value: str) -> str:
        return known_url(value, _DATABASE_SCHEMES, "sqlite:////data/workerpool.db") if value else value

    @model_validator(mode="after")
    def _limits_in_order(self) -> Settings:
        if self.soft_time_limit_seconds >= self.hard_time_limit_seconds:
            raise ValueError(
                "WORKERPOOL_SOFT_TIME_LIMIT_SECONDS: must be below WORKERPOOL_HARD_TIME_LIMIT_SECONDS "
                f"(got {self.soft_time_limit_seconds:g} and {self.hard_time_limit_seconds:g})"
            )
        return self

    @property
    def database(self) -> str:
        """The SQLAlchemy URL: the one set, else a SQLite file in the state folder."""
        url = self.database_url or f"sqlite:///{(self.state_dir / 'workerpool.db').absolute()}"
        # SQLAlchemy's default PostgreSQL driver is psycopg2; ours is psycopg 3.
        return url.replace("postgresql://", "postgresql+psycopg://", 1)

    @property
    def heartbeat(self) -> Path | None:
        """The heartbeat file: the one set, else one of this process's own where a health port needs it."""
        if self.heartbeat_file is None and self.health_port:
            return Path(tempfile.gettempdir(), f"workerpool-heartbeat-{os.getpid()}")
        return self.heartbeat_file

    @property
    def drain_seconds(self) -> float:
        """How long a running job may go on after SIGTERM.

        Ten seconds of the grace are kept back to re-queue what did not finish; a short grace keeps half.
        """
        return max(self.grace_seconds - 10, self.grace_seconds / 2)

    @property
    def visibility_timeout_seconds(self) -> float:
        """After which kombu itself takes an unacknowledged job for lost: twice the longest a job may run."""
        return 2 * self.hard_time_limit_seconds


def load_settings(environ: Mapping[str, str] | None = None, **overrides: object) -> Settings:
    """Read the settings from the environment; `overrides` (command-line options) win when not None.

    Raises:
        SettingsError: a value cannot be used; the text names its variable.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, object] = {}
    for name, variables in _variables().items():
        found = next((environ[variable] for variable in variables if environ.get(variable)), None)
        if found is not None:
            values[name] = found
    values.update({name: value for name, value in overrides.items() if value is not None})
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(_one_line(error)) from None


def settings_table(settings: Settings, environ: Mapping[str, str] | None = None) -> list[SettingRow]:
    """Every setting with its value and source, secrets masked."""
    environ = os.environ if environ is None else environ
    rows = []
    for name, variables in _variables().items():
        field = Settings.model_fields[name]
        used = next((variable for variable in variables if environ.get(variable)), None)
        value = settings.database if name == "database_url" else getattr(settings, name)
        rows.append(
            SettingRow(
                used or variables[0], _shown(name, value), "environment" if used else "default", field.description or ""
            )
        )
    return rows


def without_password(url: str) -> str:
    """The URL fit for a log line: its password and query replaced."""
    parts = urlsplit(url)
    location = parts.netloc
    if "@" in location:
        credentials, _, place = location.rpartition("@")
        user = credentials.partition(":")[0]
        location = f"{user}:***@{place}" if ":" in credentials else f"***@{place}"
    # urlunsplit would drop the empty host of sqlite:///file
    rest = f"{parts.path}?***" if parts.query else parts.path
    return f"{parts.scheme}://{location}{rest}" if "://" in url else urlunsplit(parts)


def _extra(name: str) -> dict[str, Any]:
    extra = Settings.model_fields[name].json_schema_extra
    if not isinstance(extra, dict):
        raise TypeError(f"{name} was not made by _setting()")
    return extra


def _variables() -> dict[str, list[str]]:
    return {name: _extra(name)["env"] for name in Settings.model_fields}


def _shown(name: str, value: object) -> str:
    if _extra(name)["secret"]:
        return "***" if value else ""
    if name.endswith("_url"):
        return without_password(str(value))
    return ",".join(value) if isinstance(value, tuple) else "" if value is None else str(value)


def _one_line(error: ValidationError) -> str:
    first = error.errors()[0]
    text = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return text
    name = str(first["loc"][0])
    variable = _extra(name)["env"][0]
    return f"{variable}: {text} (got {_shown(name, first['input'])!r})"
