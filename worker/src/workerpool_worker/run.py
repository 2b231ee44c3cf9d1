"""Starts Celery's worker in this very process: the pid that was started is the one that gets the signals."""

# ruff: noqa: PLC0415 - signal handlers come before anything that takes time

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import warnings
from typing import TYPE_CHECKING

from celery import signals

from workerpool_worker.monitoring import health, logs
from workerpool_worker.monitoring.shared_page import SharedPage
from workerpool_worker.runtime import process

if TYPE_CHECKING:
    from workerpool_worker.settings import Settings

_log = logging.getLogger("workerpool_worker")


def run_worker(settings: Settings) -> int:
    """Consume jobs until told to stop; the exit status.

    Raises:
        PortError: the health port cannot be listened on.
    """
    # Until the consumer's own handlers are there, nothing has been fetched: leaving is all there is to do.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    logs.configure(settings)
    beside, page = None, SharedPage()
    if settings.health_port and settings.heartbeat:
        beside = health.serve_beside(settings.health_port, settings.heartbeat, page)
    # The container decides whom we run as; only JSON is read, which is what Celery's warnings are about.
    warnings.filterwarnings("ignore", message=".*superuser privileges.*")
    warnings.filterwarnings("ignore", message=".*specified gid or egid was not found.*")
    from workerpool_worker.app import create_app
    from workerpool_worker.monitoring import metrics, startup
    from workerpool_worker.parent.heartbeat import heartbeat_of

    app = create_app(settings)
    heartbeat_of(app).begin()
    process.mark_main()
    startup.say(settings)
    if beside is not None:
        about = startup.fixed(settings)
        metrics.begin(page, queues=settings.queues, tasks=app.tasks, fixed=about, also=beside.watch)
    name = settings.worker_name or f"{settings.pool or 'worker'}-{os.getpid()}@{socket.gethostname()}"
    worker = app.Worker(
        hostname=name if "@" in name else f"{name}@{socket.gethostname()}",
        concurrency=settings.concurrency,
        loglevel=logging.WARNING,
        quiet=True,
        # They cost 4 Redis connections and a second at start; heartbeats stay, the autoscaler reads them.
        without_gossip=True,
        without_mingle=True,
    )
    recovery = f"pool {settings.namespace}/{settings.pool}" if settings.pool else "no pool named: no quick recovery"

    def say_ready(**_: object) -> None:
        _log.info("consuming %s, %d at a time; %s", ",".join(settings.queues), settings.concurrency, recovery)

    signals.worker_ready.connect(say_ready)
    worker.start()
    return int(worker.exitcode or 0)
