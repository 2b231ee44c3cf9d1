"""Hypothesis strategies for what the policy takes: observations, specs, histories."""

from __future__ import annotations

from hypothesis import strategies as st

from workerpool_operator.core.observation import (
    ActiveSchedule,
    Cause,
    InFlight,
    Observation,
    QueueDepth,
    Replicas,
    Unavailable,
)
from workerpool_operator.core.spec import Fallback, PoolSpec, ScaleDown, ScaleUp, WhenBusy

NOW_S = 1_800_000_000.0

unavailable = st.builds(Unavailable, cause=st.sampled_from(Cause), message=st.just("redis:6379: connection refused"))


@st.composite
def specs(draw: st.DrawFn, /, **fixed: object) -> PoolSpec:
    """Any spec that the model would let through."""
    most = draw(st.integers(1, 60))
    backlog = draw(st.none() | st.integers(1, 50))
    values: dict[str, object] = {
        "min_replicas": draw(st.integers(0, most)),
        "max_replicas": most,
        "pinned_replicas": draw(st.none() | st.integers(0, most)),
        "backlog_per_replica": backlog,
        "queue_latency_s": draw(st.integers(1, 600) if backlog is None else st.none() | st.integers(1, 600)),
        "slots_per_replica": draw(st.none() | st.integers(1, 16)),
        "scale_up": ScaleUp(
            stabilization_s=draw(st.sampled_from([0, 0, 10, 300])),
            max_replicas_per_step=draw(st.none() | st.integers(1, 10)),
        ),
        "scale_down": ScaleDown(
            stabilization_s=draw(st.sampled_from([0, 5, 60, 300])), when_busy=draw(st.sampled_from(WhenBusy))
        ),
        "fallback": draw(
            st.none() | st.builds(Fallback, replicas=st.integers(0, most), after_s=st.sampled_from([0, 5, 60]))
        ),
        "paused": draw(st.booleans()),
    }
    return PoolSpec(**(values | fixed))  # type: ignore[arg-type]


@st.composite
def free_specs(draw: st.DrawFn, /, **fixed: object) -> PoolSpec:
    """Specs under which the work decides: neither pinned nor paused."""
    return draw(specs(pinned_replicas=None, paused=False, **fixed))


queue_depths = st.builds(
    QueueDepth, ready=st.integers(0, 500) | st.just(0), oldest_job_s=st.none() | st.floats(0, 10_000)
)


@st.composite
def in_flights(draw: st.DrawFn) -> InFlight:
    """Jobs in flight that can be: no more on leaving replicas than run, due times in order."""
    running = draw(st.integers(0, 60) | st.just(0))
    due = tuple(sorted(draw(st.lists(st.floats(0.01, 100_000), max_size=5))))
    return InFlight(
        running=running,
        running_on_leaving=draw(st.integers(0, running)),
        scheduled=len(due) + draw(st.integers(0, 5)) if due else 0,
        due_in_s=due,
        stranded=draw(st.just(0) | st.integers(0, 5)),
        started_total=draw(st.none() | st.integers(0, 1_000)),
    )


@st.composite
def replicas(draw: st.DrawFn) -> Replicas:
    """Replicas that can be: no more ready than there are, no more busy than ready."""
    current = draw(st.integers(0, 80) | st.just(0))
    ready = draw(st.integers(0, current))
    return Replicas(
        current=current, ready=ready, busy=draw(st.none() | st.integers(0, ready)), leaving=draw(st.integers(0, 5))
    )


@st.composite
def observations(draw: st.DrawFn, *, readable: bool | None = None, time_s: float | None = None) -> Observation:
    """Any observation; ``readable`` True or False asks for one without or with something unavailable."""
    queues: dict[str, QueueDepth | Unavailable] = {
        f"queue-{n}": draw(queue_depths) for n in range(draw(st.integers(1, 3)))
    }
    held: InFlight | Unavailable = draw(in_flights())
    if readable is False or (readable is None and draw(st.booleans())):
        broken = draw(st.sampled_from([*queues, "in flight", "all"]))
        if broken in ("in flight", "all"):
            held = draw(unavailable)
        for name in queues:
            if broken in (name, "all"):
                queues[name] = draw(unavailable)
    return Observation(
        time_s=NOW_S + draw(st.floats(-1_000, 1_000)) if time_s is None else time_s,
        replicas=draw(replicas()),
        queues=queues,
        in_flight=held,
        schedules=tuple(
            draw(st.lists(st.builds(ActiveSchedule, name=st.just("peak"), min_replicas=st.integers(0, 60)), max_size=2))
        ),
    )
