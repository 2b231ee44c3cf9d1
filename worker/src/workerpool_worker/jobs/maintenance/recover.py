"""maintenance.recover: sets going again what got stuck. Safe at any time: the ids of the jobs it sends make it so.

Its steps know nothing of each other. One that fails is told of, and the others are done all the same; the next run, in
minutes, tries again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from celery.exceptions import SoftTimeLimitExceeded

from workerpool_worker.jobs.maintenance import payments, statuses
from workerpool_worker.jobs.maintenance.messages import Recover
from workerpool_worker.outbox.relay import Relay
from workerpool_worker.producer import Producer
from workerpool_worker.runtime.context import JobContext, Outcome

Step = Callable[[JobContext, float], Mapping[str, int]]

_log = logging.getLogger("workerpool_worker.maintenance")


def _relay(context: JobContext, _now_s: float) -> Mapping[str, int]:
    """Send what lies in the outbox, should no relay run. It waits for nothing: others may be at it."""
    settings = context.settings.model_copy(update={"jobs_mode": "queue"})
    with Producer.from_settings(settings) as producer:
        return {"relayed": Relay(context.engine, producer, batch=context.settings.outbox_batch).run_once()}


STEPS: tuple[tuple[str, Step], ...] = (
    ("outbox", _relay),
    ("payments", payments.verify),
    ("orders", payments.charge),
    ("statuses", statuses.settle),
)


def recover(context: JobContext, _job: Recover) -> Outcome:
    """Do every step. `outcome` is "recovered", or "partly" where a step failed; the rest counts what was done."""
    return run_steps(context, STEPS, done="recovered")


def run_steps(context: JobContext, steps: tuple[tuple[str, Step], ...], *, done: str) -> Outcome:
    """Do steps that know nothing of each other; what each of them counted, and which failed and why."""
    counted: dict[str, object] = {}
    failed: dict[str, str] = {}
    for name, step in steps:
        try:
            counted |= step(context, time.time())
        except SoftTimeLimitExceeded:
            # The time of the whole job is up.
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the other steps are done
            failed[name] = f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]
            _log.exception("maintenance: %s failed", name)
    outcome: Outcome = {"outcome": "partly" if failed else done, **counted}
    return {**outcome, "errors": failed} if failed else outcome
