"""Which hooks a job that is over sets off. For children and the main process alike: no SQL, no HTTP."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from workerpool_worker.jobs.hooks.messages import HookEmail, HookPayload, HookWebhook
from workerpool_worker.jobs.hooks.plan import Hook, State
from workerpool_worker.models import Job

if TYPE_CHECKING:
    from workerpool_worker.settings import Settings

_OURS = "hook."
_LONGEST_RESULT = 32_000
_LONGEST_ERROR = 2_000
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,71}")


@dataclass(frozen=True, kw_only=True)
class Final:
    """How a job ended.

    Attributes:
        result: What it answered; None where it failed.
        error: Class and text of the error; None where it completed.
        attempts: Tries that were made, the last one included.
        finished_at_s: Unix seconds.
    """

    job_id: str
    task: str
    queue: str
    state: State
    result: Any = None
    error: str | None = None
    attempts: int = 1
    finished_at_s: float


class HookJob(NamedTuple):
    """A job to publish, and the queue to publish it to: the one of the job it tells of, which somebody consumes."""

    job: Job
    queue: str


def hooks_for(settings: Settings, final: Final) -> tuple[HookJob, ...]:
    """The jobs to publish for a job that has completed, or failed for good. A job of a hook sets off none."""
    if not settings.hooks or final.task.startswith(_OURS):
        return ()
    wanted = [hook for hook in settings.hooks if hook.wants(task=final.task, queue=final.queue, state=final.state)]
    return tuple(HookJob(_job(hook, final), final.queue) for hook in wanted)


def _job(hook: Hook, final: Final) -> Job:
    # The same for the same job, state and hook: a job that is delivered twice is told of once.
    name = final.job_id
    if not _ID.fullmatch(name):
        name = hashlib.sha256(name.encode()).hexdigest()[:32]
    business_id = f"{name}-{final.state}-{hook.name}"
    payload = HookPayload(
        job_id=final.job_id,
        task=final.task,
        queue=final.queue,
        state=final.state,
        result=_small(final.result),
        error=None if final.error is None else final.error[:_LONGEST_ERROR],
        attempts=final.attempts,
        finished_at=round(final.finished_at_s, 3),
    )
    if hook.email:
        return HookEmail(id=business_id, to=hook.email, payload=payload)
    return HookWebhook(id=business_id, hook=hook.name, payload=payload)


def _small(result: Any) -> Any:
    """The result as JSON; a large one is left out, because it would lie in Redis once more for each hook."""
    try:
        text = json.dumps(result, allow_nan=False)
    except (TypeError, ValueError):
        return {"left_out": "it is no JSON"}
    return json.loads(text) if len(text) <= _LONGEST_RESULT else {"left_out": f"it has {len(text)} characters"}
