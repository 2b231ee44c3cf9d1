"""One try of a job, wherever it runs: in a worker's child, or in the program that sent it (`JOBS_MODE=inline`)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from workerpool_worker.models import Job
from workerpool_worker.registry import JobSpec
from workerpool_worker.runtime.context import JobContext, Outcome, untold
from workerpool_worker.runtime.database import engine_for, transient_outside_errors
from workerpool_worker.runtime.errors import InvalidJobError
from workerpool_worker.settings import Settings


def attempt(
    spec: JobSpec,
    settings: Settings,
    arguments: Mapping[str, Any],
    *,
    job_id: str,
    correlation_id: str,
    redelivered: bool,
    publish: Callable[[Job], None],
    progress: Callable[[float, str], None] = untold,
) -> Outcome:
    """Check the message, then run the job's code on it.

    Args:
        spec: Which job.
        settings: What it runs with.
        arguments: The message's keyword arguments.
        job_id: The job's id.
        correlation_id: What it belongs to.
        redelivered: Whether an earlier try was cut off.
        publish: Sends a follow-up job.
        progress: Keeps how far it is.

    Raises:
        InvalidJobError: the arguments do not describe such a job.
        JobError: whatever the job says; what is wrong with the database is transient.
    """
    try:
        message = spec.message.model_validate(arguments)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "arguments"
        raise InvalidJobError(f"{where}: {first['msg']}") from None
    with transient_outside_errors():
        context = JobContext(
            settings=settings,
            engine=engine_for(settings.database),
            job_id=job_id,
            correlation_id=correlation_id,
            redelivered=redelivered,
            publish=publish,
            progress=progress,
        )
        return code_of(spec)(context, message)


def code_of(spec: JobSpec) -> Callable[[JobContext, Job], Outcome]:
    """The function a job names; its module is imported now if it was not before."""
    module, _, name = spec.code.partition(":")
    found: Callable[[JobContext, Job], Outcome] = getattr(importlib.import_module(module), name)
    return found
