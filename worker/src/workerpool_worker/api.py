"""All that the author of a job needs; what is not in here may change from one version to the next.

    from workerpool_worker.api import Job, JobSpec

    class Greeting(Job):
        task = "shop.greet"
        queue = "shop"
        prefix = "greeting"
        name: str

    JOBS = (JobSpec(Greeting, "shop_jobs.greet:greet"),)

A module of messages imports `Job` and `JobSpec` only, and that costs nothing. The other names bring SQLAlchemy; they
are imported when first asked for, so that only the modules with the jobs' code pay for it. See docs/own-jobs.md.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from workerpool_worker.models import Attachment, BusinessId, Email, Job, Sms, TemplateEmail
from workerpool_worker.registry import JobSpec
from workerpool_worker.runtime.errors import HandOverError, PermanentError, RateLimitedError, TransientError

if TYPE_CHECKING:
    from workerpool_worker.runtime.context import JobContext, Outcome
    from workerpool_worker.runtime.database import create_missing
    from workerpool_worker.runtime.http import Answer
    from workerpool_worker.runtime.http import request as http_request
    from workerpool_worker.runtime.idempotency import Effect, once_in_transaction
    from workerpool_worker.runtime.uninterrupted import uninterrupted

_HEAVY = {
    "Answer": "http:Answer",
    "Effect": "idempotency:Effect",
    "JobContext": "context:JobContext",
    "Outcome": "context:Outcome",
    "create_missing": "database:create_missing",
    "http_request": "http:request",
    "once_in_transaction": "idempotency:once_in_transaction",
    "uninterrupted": "uninterrupted:uninterrupted",
}

__all__ = [
    "Answer",
    "Attachment",
    "BusinessId",
    "Effect",
    "Email",
    "HandOverError",
    "Job",
    "JobContext",
    "JobSpec",
    "Outcome",
    "PermanentError",
    "RateLimitedError",
    "Sms",
    "TemplateEmail",
    "TransientError",
    "create_missing",
    "http_request",
    "once_in_transaction",
    "uninterrupted",
]


def __getattr__(name: str) -> Any:
    if name not in _HEAVY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _HEAVY[name].partition(":")
    found = getattr(import_module(f"workerpool_worker.runtime.{module}"), attribute)
    globals()[name] = found
    return found
