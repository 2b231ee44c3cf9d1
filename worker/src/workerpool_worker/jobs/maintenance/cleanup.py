"""maintenance.cleanup: deletes what is past its time, for a while; the next run goes on where this one ended."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict

from workerpool_worker.broker.connect import client_for
from workerpool_worker.jobs.maintenance.messages import CleanUp
from workerpool_worker.jobs.maintenance.recover import run_steps
from workerpool_worker.messages.dead_letters import DeadLetters
from workerpool_worker.messages.settle import keep_of
from workerpool_worker.runtime.context import JobContext, Outcome
from workerpool_worker.store.retention import DAY_S
from workerpool_worker.store.retention import clean_up as clean_database


class _TimeUp(Exception):  # noqa: N818 - no error: it is how the pause between two batches ends the work
    """There is more to do and no time left. What was deleted is."""


def clean_up(context: JobContext, _job: CleanUp) -> Outcome:
    """Delete. `outcome` is "cleaned", or "partly" where a step failed; `unfinished` where the time was up."""
    return run_steps(context, (("dead letters", _dead_letters), ("database", _database)), done="cleaned")


def _dead_letters(context: JobContext, now_s: float) -> Mapping[str, int]:
    with client_for(context.settings) as client:
        return {"dead_letters": DeadLetters(client).trim(keep_of(context.settings), now_s=now_s)}


def _database(context: JobContext, now_s: float) -> Mapping[str, int]:
    settings = context.settings
    deadline = time.monotonic() + settings.cleanup_seconds

    def pause(seconds: float) -> None:
        if time.monotonic() + seconds > deadline:
            raise _TimeUp
        time.sleep(seconds)

    try:
        removed = clean_database(
            context.engine,
            keep_completed_s=settings.keep_completed_days * DAY_S,
            keep_failed_s=settings.keep_failed_days * DAY_S,
            keep_completed=settings.keep_completed_jobs,
            keep_failed=settings.keep_failed_jobs,
            keep_effects_s=settings.keep_effects_days * DAY_S,
            now_s=now_s,
            pause=pause,
        )
    except _TimeUp:
        return {"unfinished": 1}
    return asdict(removed)
