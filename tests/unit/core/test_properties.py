"""What must hold of every decision, whatever was seen and whatever is wanted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.strategies import NOW_S, free_specs, observations, specs
from workerpool_operator.core.decision import Decision, History, Reason
from workerpool_operator.core.observation import InFlight, Observation, QueueDepth, Replicas
from workerpool_operator.core.policy import decide
from workerpool_operator.core.spec import PoolSpec, ScaleDown, ScaleUp, WhenBusy

pytestmark = pytest.mark.unit


@st.composite
def lived(draw: st.DrawFn, spec: PoolSpec) -> History:
    """A history as decisions really leave it: from a few observations of any kind."""
    history = History()
    for _ in range(draw(st.integers(0, 4))):
        history = decide(draw(observations()), spec, history).history
    return history


@st.composite
def situations(draw: st.DrawFn, spec: PoolSpec | None = None) -> tuple[Observation, PoolSpec, History]:
    wanted = draw(specs()) if spec is None else spec
    return draw(observations()), wanted, draw(lived(wanted))


@given(st.data())
def test_the_target_is_within_bounds_or_holds_what_is_there(data: st.DataObject) -> None:
    observation, spec, history = data.draw(situations())
    decision = decide(observation, spec, history)
    most = spec.max_replicas
    held = decision.reason in (Reason.PAUSED, Reason.BUSY_WORKERS, Reason.BROKER_UNREADABLE)
    assert 0 <= decision.target <= (max(most, decision.current) if held else most)
    if decision.reason not in (Reason.PINNED, Reason.PAUSED) and spec.pinned_replicas is None and not spec.paused:
        assert decision.target >= spec.min_replicas


@given(st.data(), st.integers(1, 500))
def test_more_backlog_never_asks_for_less(data: st.DataObject, more: int) -> None:
    spec = data.draw(free_specs())
    observation, history = data.draw(observations(readable=True)), data.draw(lived(spec))
    name, queue = next(iter(observation.queues.items()))
    assert isinstance(queue, QueueDepth)
    fuller = replace(observation, queues={**observation.queues, name: replace(queue, ready=queue.ready + more)})
    assert decide(fuller, spec, history).target >= decide(observation, spec, history).target


@given(st.data(), st.integers(1, 50))
def test_more_running_never_asks_for_less(data: st.DataObject, more: int) -> None:
    spec = data.draw(free_specs())
    observation, history = data.draw(observations(readable=True)), data.draw(lived(spec))
    assert isinstance(observation.in_flight, InFlight)
    busier = replace(
        observation, in_flight=replace(observation.in_flight, running=observation.in_flight.running + more)
    )
    assert decide(busier, spec, history).demand_replicas >= decide(observation, spec, history).demand_replicas


@given(st.data())
def test_an_unreadable_queue_never_lowers_the_size(data: st.DataObject) -> None:
    spec = data.draw(specs())
    decision = decide(data.draw(observations(readable=False)), spec, data.draw(lived(spec)))
    assert decision.target >= decision.current


@given(st.data())
def test_zero_is_reached_only_when_nothing_needs_a_worker(data: st.DataObject) -> None:
    spec = data.draw(free_specs())
    observation = data.draw(observations())
    decision = decide(observation, spec, data.draw(lived(spec)))
    if decision.target == 0 and decision.current > 0:
        assert not observation.unavailable
        held = observation.in_flight
        assert isinstance(held, InFlight)
        assert observation.ready == 0
        assert held.running <= held.running_on_leaving
        assert held.stranded == 0
        assert not [due for due in held.due_in_s if due <= spec.lead_s]


@given(st.data())
def test_work_wakes_a_pool_at_zero(data: st.DataObject) -> None:
    spec = data.draw(free_specs().map(lambda s: replace(s, scale_up=replace(s.scale_up, stabilization_s=0))))
    observation = data.draw(observations(readable=True))
    observation = replace(observation, replicas=Replicas(current=0, ready=0, busy=0))
    decision = decide(observation, spec, History())
    held = observation.in_flight
    assert isinstance(held, InFlight)
    if observation.ready or held.stranded or any(due <= spec.lead_s for due in held.due_in_s):
        assert decision.target > 0


@given(st.data())
def test_busy_workers_are_waited_for(data: st.DataObject) -> None:
    spec = data.draw(specs().map(lambda s: replace(s, scale_down=replace(s.scale_down, when_busy=WhenBusy.WAIT))))
    observation = data.draw(observations(readable=True))
    decision = decide(observation, spec, data.draw(lived(spec)))
    busy = observation.replicas.busy
    if busy is not None:
        assert decision.target >= min(decision.current, busy)


@given(st.data())
def test_the_same_input_gives_the_same_answer(data: st.DataObject) -> None:
    observation, spec, history = data.draw(situations())
    assert decide(observation, spec, history) == decide(observation, spec, history)


@given(st.data())
def test_every_change_of_size_has_a_reason_a_person_can_read(data: st.DataObject) -> None:
    decision = decide(*data.draw(situations()))
    assert isinstance(decision.reason, Reason)
    assert decision.message.strip()
    assert "\n" not in decision.message
    assert decision.trace[0].rule == "demand"
    assert decision.trace[-1].after == decision.target
    assert decision.trace[-1].reason is decision.reason
    for earlier, later in zip(decision.trace, decision.trace[1:], strict=False):
        assert later.before == earlier.after


@given(specs(), st.lists(st.integers(0, 2_000), min_size=30, max_size=120))
def test_what_is_remembered_stays_small(spec: PoolSpec, depths: list[int]) -> None:
    history = History()
    for n, ready in enumerate(depths):
        seen = Observation(
            time_s=NOW_S + n,
            replicas=Replicas(current=3, ready=3, busy=None),
            queues={"email": QueueDepth(ready=ready)},
            in_flight=InFlight(),
        )
        history = decide(seen, spec, history).history
        assert len(history.down_wishes) <= spec.max_replicas + 1
        assert len(history.up_wishes) <= spec.max_replicas + 1


@given(st.data())
def test_a_steady_load_never_flaps(data: st.DataObject) -> None:
    """The same work, seen again and again, with the replicas following the decisions: the size settles and stays."""
    # a latency target is judged by what comes of it, over whole runs: see tests/unit/simulate/test_promises.py
    windows: dict[str, object] = {
        "scale_up": ScaleUp(stabilization_s=10),
        "scale_down": ScaleDown(stabilization_s=30),
    }
    spec = data.draw(free_specs(backlog_per_replica=10, queue_latency_s=None, **windows))
    first = data.draw(observations(readable=True, time_s=NOW_S))
    held = first.in_flight
    assert isinstance(held, InFlight)
    first = replace(first, in_flight=replace(held, running_on_leaving=0, started_total=None, due_in_s=(), scheduled=0))
    settle_s = 2 * max(spec.scale_up.stabilization_s, spec.down_window_s) + 100
    sizes = [decision.target for decision in _follow(first, spec, steps=settle_s + 60)]
    assert len(set(sizes[settle_s:])) == 1


def _follow(first: Observation, spec: PoolSpec, *, steps: int) -> list[Decision]:
    """The decisions of a pool that sees the same work each second and whose replicas do as they are told."""
    history, size, decisions = History(), first.replicas.current, []
    for n in range(steps):
        seen = replace(first, time_s=first.time_s + n, replicas=Replicas(current=size, ready=size, busy=None))
        decision = decide(seen, spec, history)
        history, size = decision.history, decision.target
        decisions.append(decision)
    return decisions


@given(st.data())
def test_growth_does_not_change_direction_on_a_steady_load(data: st.DataObject) -> None:
    # a latency target is judged by what comes of it, over whole runs: see tests/unit/simulate/test_promises.py
    spec = data.draw(free_specs(backlog_per_replica=10, queue_latency_s=None))
    first = data.draw(observations(readable=True, time_s=NOW_S))
    assert isinstance(first.in_flight, InFlight)
    first = replace(first, in_flight=replace(first.in_flight, running_on_leaving=0, started_total=None))
    directions = [decision.direction for decision in _follow(first, spec, steps=120) if decision.direction != "none"]
    assert len(set(directions)) <= 1


@given(st.data())
def test_no_pool_goes_to_zero_with_work_about(data: st.DataObject) -> None:
    spec = data.draw(free_specs(min_replicas=0))
    history = data.draw(lived(spec))
    observation = data.draw(observations(readable=True))
    held = observation.in_flight
    assert isinstance(held, InFlight)
    decision = decide(observation, spec, history)
    if decision.target == 0 and observation.replicas.current > 0:
        assert observation.ready == 0
        assert held.running <= held.running_on_leaving
        assert held.stranded == 0


@given(st.data())
def test_a_latency_target_wakes_a_pool_at_zero_in_time(data: st.DataObject) -> None:
    """Work that waits for as long as the target allows, less a start, is not left alone, whatever was learnt before."""
    spec = data.draw(free_specs(backlog_per_replica=None, min_replicas=0, scale_up=ScaleUp()))
    history = data.draw(lived(spec))
    observation = replace(
        data.draw(observations(readable=True)),
        replicas=Replicas(current=0, ready=0, busy=0),
        in_flight=InFlight(),
        queues={
            "jobs": QueueDepth(ready=data.draw(st.integers(1, 500)), oldest_job_s=float(spec.queue_latency_s or 0))
        },
    )
    assert decide(observation, spec, history).target >= 1
