"""A WorkerPool to what the policy needs of it: plain numbers with the defaults filled in."""

from __future__ import annotations

from typing import Final

from workerpool_operator.core.spec import Budget, Fallback, PoolSpec, ScaleDown, ScaleUp, WhenBusy
from workerpool_operator.resource.model import DEFAULT_BACKLOG_PER_REPLICA, WorkerPool

LEAD_S: Final = 5.0
"""How long a replica takes to start, in seconds, where its world has not measured it."""


def pool_spec(pool: WorkerPool, *, lead_s: float = LEAD_S) -> PoolSpec:
    """The scaling part of a pool."""
    spec, scaling = pool.spec, pool.spec.scaling
    backlog = scaling.backlog_per_replica
    if backlog is None and scaling.queue_latency_seconds is None:
        backlog = DEFAULT_BACKLOG_PER_REPLICA
    fallback, budget = scaling.fallback, scaling.budget
    return PoolSpec(
        min_replicas=spec.min_replicas,
        max_replicas=spec.max_replicas,
        pinned_replicas=spec.replicas,
        backlog_per_replica=backlog,
        queue_latency_s=scaling.queue_latency_seconds,
        slots_per_replica=slots_per_replica(pool),
        lead_s=lead_s,
        poll_interval_s=scaling.poll_interval_milliseconds / 1000,
        scale_up=ScaleUp(
            stabilization_s=scaling.scale_up.stabilization_seconds,
            max_replicas_per_step=scaling.scale_up.max_replicas_per_step,
        ),
        scale_down=ScaleDown(
            stabilization_s=scaling.scale_down.stabilization_seconds,
            when_busy=WhenBusy(scaling.scale_down.when_busy),
        ),
        fallback=Fallback(replicas=fallback.replicas, after_s=fallback.after_seconds) if fallback else None,
        paused=scaling.paused,
        budget=Budget(name=budget.name, max_replicas=budget.max_replicas, weight=budget.weight) if budget else None,
    )


def slots_per_replica(pool: WorkerPool) -> int | None:
    """How many jobs one replica runs at a time; None where only the user's own command or Deployment knows."""
    worker = pool.spec.worker
    if worker is None:
        return None
    return worker.concurrency or (1 if worker.is_bundled else None)
