"""`JOBS_MODE=off`: jobs go nowhere, and the log says so."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from workerpool_worker.sending.outgoing import Outgoing

_log = logging.getLogger("workerpool_worker.producer")


class Dropped:
    """Drops jobs, one log line each."""

    def send(self, out: Outgoing) -> None:
        """Drop it."""
        fields = {"job_id": out.job_id, "task": out.task, "queue": out.queue, "correlation_id": out.correlation_id}
        # Nothing of its arguments: they are people's names and card tokens.
        _log.warning("job %s dropped: JOBS_MODE is off", out.job_id, extra={"fields": fields})

    def send_many(self, outs: Iterable[Outgoing]) -> None:
        """Drop them."""
        for out in outs:
            self.send(out)

    def ping(self) -> None:
        """Nowhere is always there."""

    def close(self) -> None:
        """Nothing to close."""
