"""`workerpool-worker relay`: the relay as a process of its own."""

# ruff: noqa: PLC0415 - `--help` and a refused setting need neither SQLAlchemy nor Celery; the CLI imports this module

from __future__ import annotations

import logging
import signal
from threading import Event

import click

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_TIMEOUT_S = 2.0
"""For Redis to answer: on SQLite, others who want to write may wait as long."""


@click.command()
@click.option("--once", is_flag=True, help="Send what is there, then end.")
def relay(*, once: bool) -> None:
    """Put into Redis what waits in the outbox (DATABASE_URL), until SIGTERM."""
    stop = Event()
    for number in _STOP_SIGNALS:
        signal.signal(number, lambda *_: stop.set())
    from workerpool_worker.commands.common import fail, on_database, settings_or_fail

    settings = settings_or_fail()
    if settings.jobs_mode != "queue":
        fail(f"JOBS_MODE: the relay puts jobs into Redis: set queue, or nothing (got {settings.jobs_mode!r})", 2)
    from workerpool_worker.monitoring import logs
    from workerpool_worker.outbox.process import keep_going
    from workerpool_worker.outbox.relay import Relay
    from workerpool_worker.parent.heartbeat import Heartbeat
    from workerpool_worker.producer import BrokerUnreachableError, Producer

    logs.configure(settings)
    log = logging.getLogger("workerpool_worker.outbox")
    with on_database(settings) as engine, Producer.from_settings(settings, timeout_s=_TIMEOUT_S) as producer:
        worker = Relay(engine, producer, batch=settings.outbox_batch)
        if once:
            try:
                click.echo(f"{worker.run_once()} jobs sent")
            except BrokerUnreachableError as error:
                fail(f"{error}; {worker.waiting()} jobs wait in the outbox")
            return
        poll_s = settings.outbox_poll_ms / 1000
        log.info("relaying the outbox, looking every %g s", poll_s)
        # The file of a worker's probes, which the image's HEALTHCHECK looks at.
        heartbeat = Heartbeat(settings.heartbeat_file)
        heartbeat.consuming()
        moved = keep_going(worker, stop, poll_s=poll_s, beat=heartbeat.beat)
        log.info("stopped", extra={"fields": {"sent": moved}})
