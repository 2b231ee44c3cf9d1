"""The messages of hooks. They name a hook, and hold neither its URL nor its secret."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from workerpool_worker.models import EmailJob, Job

HookName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]


class HookPayload(BaseModel):
    """What is told: the body of a webhook's request. `finished_at` is in Unix seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    job_id: str
    task: str
    queue: str
    state: Literal["completed", "failed"]
    result: JsonValue = None
    error: str | None = None
    attempts: Annotated[int, Field(ge=0)]
    finished_at: float


class HookWebhook(Job):
    """A job's end, for another program. Sent to the queue of the job it tells of, not to the one named here."""

    task: ClassVar[str] = "hook.webhook"
    queue: ClassVar[str] = "maintenance"
    prefix: ClassVar[str] = "hook"

    hook: HookName
    payload: HookPayload


class HookEmail(EmailJob):
    """A job's end, for a person. Sent to the queue of the job it tells of, not to the one named here."""

    task: ClassVar[str] = "hook.email"
    queue: ClassVar[str] = "maintenance"
    prefix: ClassVar[str] = "hook-email"

    payload: HookPayload
