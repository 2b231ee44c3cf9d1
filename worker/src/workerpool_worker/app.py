"""The Celery app. With `celery -A workerpool_worker.app ...`, `app` is made from the environment when asked for."""

from __future__ import annotations

from typing import Any

from celery import Celery, signals

from workerpool_worker import tasks
from workerpool_worker.messages import headers
from workerpool_worker.monitoring import logs
from workerpool_worker.monitoring.metrics import MetricsStep
from workerpool_worker.parent.dead_letter_count import DeadLetterCountStep
from workerpool_worker.parent.delivery import delivery_config, pool_key
from workerpool_worker.parent.drain import DrainStep
from workerpool_worker.parent.failed_hooks import failed_hooks
from workerpool_worker.parent.fetch import FetchStep
from workerpool_worker.parent.heartbeat import Heartbeat, HeartbeatStep
from workerpool_worker.parent.promote import PromoteStep
from workerpool_worker.parent.recovery import RecoveryStep
from workerpool_worker.parent.schedules import ScheduleStep
from workerpool_worker.settings import Settings, load_settings


def create_app(settings: Settings) -> Celery:
    """An app for these settings, with every job registered and the consumer's own steps in place."""
    app = Celery("workerpool", set_as_current=True)
    app.conf.update(delivery_config(settings))
    app.workerpool_settings = settings  # type: ignore[attr-defined]
    app.workerpool_broker = settings.broker  # type: ignore[attr-defined]
    app.workerpool_drain_seconds = settings.drain_seconds  # type: ignore[attr-defined]
    app.workerpool_heartbeat = Heartbeat(settings.heartbeat)  # type: ignore[attr-defined]
    # Without a pool's own keys the unacknowledged jobs are shared with workers that write no leases.
    if settings.pool is not None:
        app.workerpool_holders_key = pool_key(settings, "holders")  # type: ignore[attr-defined]
    app.workerpool_on_buried = failed_hooks(app, settings)  # type: ignore[attr-defined]
    app.steps["consumer"].add(FetchStep)
    app.steps["consumer"].add(PromoteStep)
    app.steps["consumer"].add(RecoveryStep)
    app.steps["consumer"].add(DeadLetterCountStep)
    app.steps["consumer"].add(ScheduleStep)
    app.steps["consumer"].add(DrainStep)
    app.steps["consumer"].add(HeartbeatStep)
    app.steps["consumer"].add(MetricsStep)
    headers.install()
    tasks.register(app, settings)
    tasks.preload_in_children(settings)
    # A receiver of this signal keeps Celery's hands off the logging that `logs.configure` set up.
    signals.setup_logging.connect(_leave_logging_alone, dispatch_uid="workerpool-logging")
    return app


def _leave_logging_alone(**_: object) -> None:
    return None


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(name)
    settings = load_settings()
    logs.configure(settings)
    globals()["app"] = create_app(settings)
    return globals()["app"]
