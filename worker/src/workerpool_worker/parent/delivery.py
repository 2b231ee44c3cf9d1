"""How jobs are delivered: every Celery setting that decides whether one is lost, run twice or late, with its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kombu import Queue

from workerpool_worker.broker.connect import CONNECT_S, connection_options

if TYPE_CHECKING:
    from workerpool_worker.settings import Settings

ROUTES = {"email.*": {"queue": "email"}, "order.*": {"queue": "order"}, "payment.*": {"queue": "payment"}}


def pool_key(settings: Settings, name: str) -> str:
    """A key of this pool in Redis. The names are a contract: the operator reads them."""
    return f"workerpool:{settings.namespace}:{settings.pool}:{name}"


def transport_options(settings: Settings) -> dict[str, Any]:
    """What kombu's Redis transport is told."""
    options: dict[str, Any] = connection_options(settings)["broker_transport_options"] | {
        # The last resort where the recovery by leases is off. Shorter than a job may take, it would run it twice.
        "visibility_timeout": settings.visibility_timeout_seconds,
        # kombu looks only every interval x throttle seconds: 100 s with its defaults.
        "unacked_restore_interval": 10,
        "unacked_restore_throttle": 1,
    }
    if settings.pool is not None:
        # In-flight jobs of each pool apart: its own count, and no other pool's visibility timeout can re-queue them.
        options |= {name: pool_key(settings, name.removesuffix("_key")) for name in _UNACKED_KEYS}
    return options


_UNACKED_KEYS = ("unacked_key", "unacked_index_key", "unacked_mutex_key")


def delivery_config(settings: Settings) -> dict[str, Any]:
    """The whole of the Celery configuration."""
    return _sending(settings) | _acknowledging(settings) | _running(settings) | _connecting(settings)


def _sending(settings: Settings) -> dict[str, Any]:
    return {
        # The default exchange needs no binding: a restored job can always be put back, whoever does it.
        "task_queues": [Queue(name, routing_key=name) for name in settings.queues],
        "task_routes": ROUTES,
        "task_default_queue": settings.queues[0],
        # Nothing but JSON is read: a pickle in the queue would be code.
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_serializer": "json",
        # What a job did is in SQL; results in Redis would be written for nobody.
        "task_ignore_result": True,
        "enable_utc": True,
        "timezone": "UTC",
    }


def _acknowledging(settings: Settings) -> dict[str, Any]:
    return {
        # A job is acknowledged when it is done, so a killed worker's job is still in Redis.
        "task_acks_late": True,
        # Without it a killed child's job is acknowledged as failed: lost.
        "task_reject_on_worker_lost": True,
        # With it, such a job counts as a try and so cannot kill children for ever.
        "task_retry_on_worker_lost": True,
        # After a lost connection the job cannot be acknowledged and comes back: the run still going on must end.
        "worker_cancel_long_running_tasks_on_connection_loss": True,
        # One job a slot: what waits stays in Redis, where the autoscaler and idle workers see it.
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": True,
        # Reducing the prefetch after a reconnect would leave slots of a worker idle.
        "worker_enable_prefetch_count_reduction": False,
        # Read by Celery in three places; one differing would restore running jobs.
        "visibility_timeout": settings.visibility_timeout_seconds,
        "result_backend_transport_options": {"visibility_timeout": settings.visibility_timeout_seconds},
        "broker_transport_options": transport_options(settings),
        "task_soft_time_limit": settings.soft_time_limit_seconds,
        "task_time_limit": settings.hard_time_limit_seconds,
    }


def _running(settings: Settings) -> dict[str, Any]:
    return {
        # Explicit: Celery's default is the number of the host's cores, whatever the container may use.
        "worker_concurrency": settings.concurrency,
        "worker_pool": "workerpool_worker.parent.children:ChildPool",
        "worker_consumer": "workerpool_worker.parent.consumer:PoolConsumer",
        # A bound on what a leak can take. A fresh child costs 0.3 s of processor time: spread over many jobs.
        "worker_max_tasks_per_child": settings.max_jobs_per_child,
        # Looked at between two jobs only, so it is no limit but a leak's end. Celery counts in KiB.
        "worker_max_memory_per_child": settings.max_memory_per_child_mb * 1024 or None,
        # A busy machine may take longer than Celery's 4 s to import SQLAlchemy in a new child.
        "worker_proc_alive_timeout": 60,
        # How long the result of a job whose child died may still come through the pipe; Celery waits 10 s.
        "worker_lost_wait": 1.0,
        # Celery's soft shutdown sleeps in the signal handler: no lease is renewed, no result read, no job
        # acknowledged meanwhile. parent/drain.py does the same from the running event loop.
        "worker_soft_shutdown_timeout": 0,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
    }


def _connecting(settings: Settings) -> dict[str, Any]:
    connection = connection_options(settings)
    return {
        "broker_url": connection["broker_url"],
        "broker_transport": connection["broker_transport"],
        # A worker outlives its broker: no number of failures makes it leave.
        "broker_connection_retry": True,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_channel_error_retry": True,
        "broker_connection_timeout": CONNECT_S,
        # Publishing a follow-up job rides out a short break; a longer one fails the try, which comes back.
        "task_publish_retry_policy": {"max_retries": 4, "interval_start": 0.1, "interval_step": 0.3, "interval_max": 1},
    }
