"""All settings of a worker in one model. A family of its own (mail, payments, ...) is a module beside this one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, StringConstraints, field_validator, model_validator

from workerpool_worker.settings.broker import BrokerSettings
from workerpool_worker.settings.declare import known_url
from workerpool_worker.settings.declare import setting as _setting
from workerpool_worker.settings.handling import HandlingSettings
from workerpool_worker.settings.hooks import HookSettings
from workerpool_worker.settings.messaging import MessagingSettings
from workerpool_worker.settings.own_jobs import OwnJobsSettings
from workerpool_worker.settings.payments import PaymentSettings
from workerpool_worker.settings.producing import ProducingSettings
from workerpool_worker.settings.retention import RetentionSettings
from workerpool_worker.settings.schedules import ScheduleSettings

KNOWN_QUEUES = ("email", "sms", "order", "payment", "maintenance")
# Text messages cost money, so a worker is told to consume them.
_DEFAULT_QUEUES = ("email", "order", "payment", "maintenance")
_LONGEST_QUEUE_NAME = 253  # as in the WorkerPool resource
_DATABASE_SCHEMES = ("sqlite", "postgresql", "postgresql+psycopg")

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]


class Settings(
    HandlingSettings,
    RetentionSettings,
    ProducingSettings,
    BrokerSettings,
    MessagingSettings,
    PaymentSettings,
    OwnJobsSettings,
    ScheduleSettings,
    HookSettings,
):
    """What one worker process runs with. Durations are in the unit their name ends with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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
    max_jobs_per_child: int = _setting(
        10_000, "WORKERPOOL_MAX_JOBS_PER_CHILD", meaning="jobs after which a child is replaced", ge=1
    )
    max_memory_per_child_mb: int = _setting(
        0, "WORKERPOOL_MAX_MEMORY_PER_CHILD_MB", meaning="memory after which it is, between two jobs; 0: any", ge=0
    )
    invoice_dir: Path | None = _setting(
        None, "WORKERPOOL_INVOICE_DIR", meaning="folder that gets each invoice as a file too"
    )
    sandbox_latency_ms: int = _setting(0, "SANDBOX_LATENCY_MS", meaning="time a sandbox charge takes", ge=0, le=600_000)
    heartbeat_file: Path | None = _setting(
        None, "WORKERPOOL_HEARTBEAT_FILE", meaning="file touched while the worker lives, for probes"
    )
    health_port: int = _setting(
        0, "WORKERPOOL_HEALTH_PORT", meaning="port of /healthz, /readyz and /metrics; 0: none", ge=0, le=65_535
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
