"""Sets off the hooks of a job that went to the dead letters, from the parent: it alone knows that it did."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from workerpool_worker.messages.letters import Letter
from workerpool_worker.sending import follow_up

if TYPE_CHECKING:
    from workerpool_worker.settings import Settings

_log = logging.getLogger("workerpool_worker.hooks")


def failed_hooks(app: Any, settings: Settings) -> Callable[[Letter], None]:
    """What is to be called with the dead letter of each job of ours."""

    def tell(letter: Letter) -> None:
        if not settings.hooks or letter.job_id is None or letter.task is None:
            return
        from workerpool_worker.jobs.hooks.choose import Final, hooks_for  # noqa: PLC0415 - only where there are hooks

        final = Final(
            job_id=letter.job_id,
            task=letter.task,
            queue=letter.queue,
            state="failed",
            error=f"{letter.error}: {letter.text}",
            attempts=letter.attempts,
            finished_at_s=letter.died_at,
        )
        for hook in hooks_for(settings, final):
            try:
                follow_up.send(
                    app, hook.job, correlation_id=letter.correlation_id or letter.job_id, queue=hook.queue, retry=False
                )
            except Exception as error:  # noqa: BLE001 - the event loop must not end for it
                _log.error("the hook %s could not be sent: %s; the dead letter is there", hook.job.job_id, error)

    return tell
