"""Bare Celery with the no-op job: as it comes, or with the two settings that Celery's own documentation calls safe.

Started by the benchmarks as `celery -A benchmarks.workers.plain worker`; `BENCH_SAFE=1` asks for the safe settings.
"""

from __future__ import annotations

import os
from typing import Any

from benchmarks.workers.first import hold
from celery import Celery

app = Celery("plain", broker=os.environ.get("WORKERPOOL_BROKER_URL"))
app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True)
if os.environ.get("BENCH_SAFE"):
    app.conf.update(task_acks_late=True, worker_prefetch_multiplier=1)


@app.task(name="bench.noop")
def noop(id: str) -> dict[str, Any]:  # noqa: A002, ARG001 - the message's name
    """Do nothing."""
    return {"outcome": "done"}


@app.task(name="bench.first")
def first(id: str) -> dict[str, Any]:  # noqa: A002, ARG001 - the message's name
    """Say that it began, and wait."""
    hold()
    return {"outcome": "done"}
