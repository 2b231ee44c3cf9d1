"""The settings of what sends jobs: programs that do, and the relay of the outbox; `Settings` is made of them too."""

from __future__ import annotations

from typing import Literal

from workerpool_worker.settings.broker import BrokerSettings
from workerpool_worker.settings.declare import setting as _setting

JobsMode = Literal["queue", "inline", "off"]


class ProducingSettings(BrokerSettings):
    """What becomes of a job that is sent, and how the outbox is emptied: all that a program that sends jobs needs."""

    jobs_mode: JobsMode = _setting(
        "queue",
        "JOBS_MODE",
        meaning="jobs that are sent go into Redis (queue), run at once (inline), or nowhere (off)",
    )
    outbox_poll_ms: int = _setting(
        500, "WORKERPOOL_OUTBOX_POLL_MS", meaning="the relay looks into the outbox this often", ge=10, le=30_000
    )
    outbox_batch: int = _setting(
        200, "WORKERPOOL_OUTBOX_BATCH", meaning="jobs the relay sends in one go", ge=1, le=5_000
    )
