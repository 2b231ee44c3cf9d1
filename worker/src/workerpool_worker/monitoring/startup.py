"""What a worker says of itself when it starts: what it runs with, what it can do, and what is missing for more.

One small function a family of capabilities, in one visible tuple; a new family adds one. They look at the settings
only: nothing is connected to, nothing large is imported, and no secret is among what they say.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from typing import Any
from urllib.parse import unquote, urlsplit

import celery

from workerpool_worker.monitoring.capabilities import Part, Report
from workerpool_worker.registry import BUNDLED, registered
from workerpool_worker.settings import Settings

_log = logging.getLogger("workerpool_worker")
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


Family = Callable[[Settings], Part]


def say(settings: Settings) -> None:
    """Log it: one JSON line, or a block in the text format."""
    report = describe(settings)
    _log.info("worker starting", extra={"fields": report.fields(), "block": report.block()})


def describe(settings: Settings) -> Report:
    """The report of these settings."""
    return Report(version=own_version(), pool=pool_of(settings), parts=tuple(family(settings) for family in FAMILIES))


def fixed(settings: Settings) -> dict[str, Any]:
    """What the metrics say of the worker: the labels of its pool, and those of `workerpool_worker_info`."""
    return {
        # Without a pool the namespace says nothing: it has a default.
        "namespace": settings.namespace if settings.pool else "",
        "pool": settings.pool or "",
        "concurrency": settings.concurrency,
        "info": {
            "version": own_version(),
            "celery": celery.__version__,
            "queues": ",".join(settings.queues),
            "payments": settings.payment_provider,
            "payments_mode": _payment_mode(settings),
            "email": settings.email_transport,
            "sms": settings.sms_provider,
            "database": _database_kind(settings),
        },
    }


@cache
def own_version() -> str:
    """Of this package."""
    return version("workerpool-worker")


def pool_of(settings: Settings) -> str:
    """The pool with its namespace; "" without one."""
    return f"{settings.namespace}/{settings.pool}" if settings.pool else ""


def _work(settings: Settings) -> Part:
    jobs = registered(settings.jobs)
    own = tuple(sorted(job.spec.message.task for job in jobs if job.source != BUNDLED))
    strange = [queue for queue in settings.queues if queue not in {job.spec.message.queue for job in jobs}]
    text = "no job known here goes to the queue {} by itself: is WORKERPOOL_QUEUES as meant?"
    return Part(
        name="work",
        says={
            "queues": settings.queues,
            "concurrency": settings.concurrency,
            "jobs": len(jobs),
            "own_jobs": own,
        },
        missing=tuple(text.format(queue) for queue in strange),
    )


def _limits(settings: Settings) -> Part:
    return Part(
        name="limits",
        says={
            "soft_seconds": settings.soft_time_limit_seconds,
            "hard_seconds": settings.hard_time_limit_seconds,
            "grace_seconds": settings.grace_seconds,
            "drain_seconds": settings.drain_seconds,
            "losses": settings.max_losses,
            "rates": settings.rate_limits,
        },
    )


def _broker(settings: Settings) -> Part:
    broker = settings.broker
    unchecked = broker.tls and not (broker.verify and broker.verify_host)
    return Part(
        name="broker",
        says={
            "address": str(broker),
            "tls": "on" if broker.tls else "off",
            "user": broker.user,
            "database": broker.database,
        },
        missing=("WORKERPOOL_BROKER_URL turns a check of the broker's certificate off",) if unchecked else (),
    )


def _recovery(settings: Settings) -> Part:
    wait_s = settings.visibility_timeout_seconds
    missing = f"no WORKERPOOL_POOL: the jobs of a worker that dies wait for {wait_s:g} s until another takes them"
    on = settings.pool is not None
    return Part(name="recovery", says={"on": on, "pool": pool_of(settings)}, missing=() if on else (missing,))


def _database(settings: Settings) -> Part:
    kind, parts = _database_kind(settings), urlsplit(settings.database)
    if kind == "sqlite":
        file = unquote(parts.path).removeprefix("/") or "memory"
        missing = f"no DATABASE_URL: SQLite in {file}; several machines need PostgreSQL"
        says: dict[str, object] = {"kind": kind, "file": file, "scope": "one machine only"}
        return Part(name="database", says=says, missing=() if settings.database_url else (missing,))
    # The password and the options stay out of it.
    return Part(name="database", says={"kind": kind, "host": _host(parts.netloc), "name": parts.path.strip("/")})


def _status(settings: Settings) -> Part:
    missing = "WORKERPOOL_JOB_STATUS is off: jobs cannot be followed by their id"
    return Part(name="status", says={"on": settings.job_status}, missing=() if settings.job_status else (missing,))


def _timed_and_told(settings: Settings) -> Part:
    schedules = tuple(schedule.name for schedule in settings.schedules)
    return Part(name="extras", says={"schedules": schedules, "hooks": tuple(hook.name for hook in settings.hooks)})


def _payments(settings: Settings) -> Part:
    provider = settings.payment_provider
    urls = {"stripe": settings.stripe_api_url, "paystack": settings.paystack_api_url}
    sandbox = provider == "sandbox" and _serves(settings, "payment")
    return Part(
        name="payments",
        says={"provider": provider, "mode": _payment_mode(settings), "url": urls.get(provider)},
        missing=("PAYMENT_PROVIDER is sandbox: no money moves",) if sandbox else (),
    )


def _email(settings: Settings) -> Part:
    templates = str(settings.email_template_dir or "")
    if settings.email_transport == "sendgrid":
        return Part(name="email", says={"transport": "sendgrid", "url": settings.sendgrid_url, "templates": templates})
    place = f"{settings.smtp_host}:{settings.smtp_port}"
    missing = []
    if "smtp_host" not in settings.model_fields_set and _serves(settings, "email"):
        missing.append(f"no SMTP_HOST: mail goes to {place}")
    if settings.smtp_tls == "none" and settings.smtp_password and settings.smtp_host not in _LOCAL:
        missing.append("SMTP_TLS is none: the password of the mail server is sent unencrypted")
    return Part(
        name="email",
        says={"transport": "smtp", "host": place, "tls": settings.smtp_tls, "templates": templates},
        missing=tuple(missing),
    )


def _sms(settings: Settings) -> Part:
    provider = settings.sms_provider
    sandbox = provider == "sandbox" and _serves(settings, "sms")
    return Part(
        name="sms",
        says={"provider": provider, "mode": "sandbox" if provider == "sandbox" else "live"},
        missing=("SMS_PROVIDER is sandbox: text messages are noted and not sent",) if sandbox else (),
    )


def _probes(settings: Settings) -> Part:
    missing = "no WORKERPOOL_HEALTH_PORT: no probes and no metrics"
    paths = "/healthz /readyz /metrics" if settings.health_port else None
    return Part(
        name="health",
        says={"port": settings.health_port, "paths": paths},
        missing=() if settings.health_port else (missing,),
    )


FAMILIES: tuple[Family, ...] = (
    _work,
    _limits,
    _broker,
    _recovery,
    _database,
    _status,
    _timed_and_told,
    _payments,
    _email,
    _sms,
    _probes,
)


def _payment_mode(settings: Settings) -> str:
    keys = {"stripe": settings.stripe_api_key, "paystack": settings.paystack_secret_key}
    if settings.payment_provider not in keys:
        return "sandbox"
    key = keys[settings.payment_provider]
    return next((mode for mode in ("live", "test") if f"_{mode}_" in key), "unknown")


def _database_kind(settings: Settings) -> str:
    return settings.database.partition(":")[0].partition("+")[0]


def _host(location: str) -> str:
    return location.rpartition("@")[2]


def _serves(settings: Settings, queue: str) -> bool:
    """Whether such jobs may come: by their own queue, or by one of another name, which takes any job."""
    known = {job.spec.message.queue for job in registered(settings.jobs)}
    return queue in settings.queues or not known.issuperset(settings.queues)
