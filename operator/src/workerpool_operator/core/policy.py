"""How a size is decided: a chain of small rules, each of which may change the answer of those before it.

Read :data:`RULES` from top to bottom. A rule gets the :class:`Situation` and the answer so far, and returns another
answer with its reason, or None to leave it. Nothing here reads a clock or touches anything: the same input gives the
same decision, in production as in the simulator.

Two promises stand at the end of the chain because they hold against everything before it: what cannot be read never
lowers the size, and busy workers are waited for. Both only ever hold a size the pool already has, so they may keep a
pool above a maximum that was lowered meanwhile; they never raise it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from workerpool_operator.core.decision import Answer, Decision, History, Reason, RuleOutcome, Wish
from workerpool_operator.core.demand import demand
from workerpool_operator.core.measure import Measures, measured
from workerpool_operator.core.observation import Observation, Unavailable
from workerpool_operator.core.spec import PoolSpec, WhenBusy
from workerpool_operator.core.windows import remember_highest, remember_lowest
from workerpool_operator.core.work import Work, work_of


class Situation(NamedTuple):
    """What every rule may look at. ``history`` already holds this observation and its wish."""

    observation: Observation
    spec: PoolSpec
    history: History
    work: Work
    unavailable: tuple[Unavailable, ...]
    current: int


Rule = Callable[[Situation, Answer], Answer | None]


def decide(observation: Observation, spec: PoolSpec, history: History) -> Decision:
    """Decide the size of one pool.

    Returns a :class:`Decision` whose ``history`` is to be handed in with the next observation of the pool; a fresh
    ``History()`` is always safe: the pool then keeps its size for one stabilisation window before it shrinks.
    """
    unavailable = observation.unavailable
    measures = measured(observation, spec, history.measures, known=not unavailable)
    work = work_of(observation, measures.startup.lead_s(spec.lead_s, observation.time_s))
    wanted = answer = demand(observation, spec, measures, work)
    history = _remember(history, measures, observation, spec, wanted.replicas, known=not unavailable)
    current = observation.replicas.current
    situation = Situation(
        observation=observation, spec=spec, history=history, work=work, unavailable=unavailable, current=current
    )
    trace = [_outcome("demand", current, answer)]
    for name, rule in RULES:
        changed = rule(situation, answer)
        if changed is not None:
            trace.append(_outcome(name, answer.replicas, changed))
            answer = changed
    return Decision(
        current=current,
        target=answer.replicas,
        reason=answer.reason,
        message=answer.message,
        demand_replicas=wanted.replicas,
        limits=tuple([outcome.reason for outcome in trace if outcome.reason in LIMITS]) if len(trace) > 1 else (),
        trace=tuple(trace),
        history=history,
        look_again_s=spec.poll_interval_s,
    )


LIMITS = frozenset(
    {Reason.STEP_LIMITED, Reason.AT_MINIMUM, Reason.AT_MAXIMUM, Reason.SCHEDULED_MINIMUM, Reason.BUDGET_EXHAUSTED}
)
"""The reasons that mean: the work asked for another size than the bounds allow."""


def _outcome(name: str, before: int, answer: Answer) -> RuleOutcome:
    return RuleOutcome(rule=name, before=before, after=answer.replicas, reason=answer.reason, message=answer.message)


def _remember(
    history: History, measures: Measures, observation: Observation, spec: PoolSpec, wanted: int, *, known: bool
) -> History:
    """Remember the measures, and this wish in both windows.

    What cannot be read, and the first look at a pool, count as a wish for at least the size it has: a restarted
    operator or a broker that comes back then sees a whole window of real readings before the pool shrinks.
    """
    size = Wish(time_s=observation.time_s, replicas=min(observation.replicas.current, spec.max_replicas))
    wish = Wish(time_s=observation.time_s, replicas=min(wanted, spec.max_replicas))
    if not known and wish.replicas < size.replicas:
        wish = size
    down_s, up_s = spec.down_window_s, spec.scale_up.stabilization_s
    return History(
        measures=measures,
        down_wishes=remember_highest(history.down_wishes or (size,), wish, down_s),
        up_wishes=remember_lowest(history.up_wishes or (size,), wish, up_s),
    )


def _stabilise(situation: Situation, answer: Answer) -> Answer | None:
    """Going down, the highest wish of the window wins; going up, the lowest."""
    current, spec, history = situation.current, situation.spec, situation.history
    if answer.replicas < current:
        winner, held = history.down_wishes[0], min(current, history.down_wishes[0].replicas)
        window_s = spec.down_window_s
    elif answer.replicas > current:
        winner, held = history.up_wishes[0], max(current, history.up_wishes[0].replicas)
        window_s = spec.scale_up.stabilization_s
    else:
        return None
    if held == min(answer.replicas, spec.max_replicas) or held == answer.replicas:
        return None
    left_s = winner.time_s + window_s - situation.observation.time_s
    message = (
        f"{answer.replicas} wanted; {held} until the window of {window_s} s agrees ({max(0.0, left_s):.0f} s left)"
    )
    return Answer(replicas=held, reason=Reason.STABILIZING, message=message)


def _limit_step(situation: Situation, answer: Answer) -> Answer | None:
    """No step up larger than scaleUp.maxReplicasPerStep."""
    step = situation.spec.scale_up.max_replicas_per_step
    if step is None or answer.replicas <= situation.current + step:
        return None
    reached = situation.current + step
    message = f"{answer.replicas} wanted; at most {step} more in one step: {reached}"
    return Answer(replicas=reached, reason=Reason.STEP_LIMITED, message=message)


def _fallback(situation: Situation, answer: Answer) -> Answer | None:
    """The size to hold at least while the broker cannot be read for longer than fallback.afterSeconds."""
    fallback, since_s = situation.spec.fallback, situation.history.measures.unreadable_since_s
    if fallback is None or since_s is None or answer.replicas > fallback.replicas:
        return None
    away_s = situation.observation.time_s - since_s
    if away_s < fallback.after_s:
        return None
    message = f"unreadable for {away_s:.0f} s: the fallback of {fallback.replicas}; {situation.unavailable[0].message}"
    return Answer(replicas=fallback.replicas, reason=Reason.FALLBACK, message=message)


def _at_least(situation: Situation, answer: Answer) -> Answer | None:
    """Never below minReplicas, nor below what a schedule in force asks for; never above maxReplicas for either."""
    spec = situation.spec
    floor, reason, why = spec.min_replicas, Reason.AT_MINIMUM, "minReplicas"
    for schedule in situation.observation.schedules:
        if schedule.min_replicas > floor:
            floor, reason, why = schedule.min_replicas, Reason.SCHEDULED_MINIMUM, f"schedule {schedule.name}"
    floor = min(floor, spec.max_replicas)
    if answer.replicas >= floor:
        return None
    return Answer(replicas=floor, reason=reason, message=f"{answer.message}; {why} holds {floor}")


def _at_most(situation: Situation, answer: Answer) -> Answer | None:
    """Never above maxReplicas."""
    most = situation.spec.max_replicas
    if answer.replicas <= most:
        return None
    return Answer(replicas=most, reason=Reason.AT_MAXIMUM, message=f"{answer.message}; maxReplicas allows {most}")


def _budget(situation: Situation, answer: Answer) -> Answer | None:
    """Never above what the budget that the pool shares with others leaves it."""
    allotment = situation.observation.allotment
    if allotment is None or answer.replicas <= allotment.replicas:
        return None
    message = f"{answer.message}; {allotment}"
    return Answer(replicas=allotment.replicas, reason=Reason.BUDGET_EXHAUSTED, message=message)


def _pin(situation: Situation, answer: Answer) -> Answer | None:
    """spec.replicas fixes the size, whatever the work and the minimum ask for."""
    pinned = situation.spec.pinned_replicas
    if pinned is None:
        return None
    pinned = min(pinned, situation.spec.max_replicas)
    message = f"spec.replicas pins {pinned}; the work asks for {answer.replicas} ({situation.work})"
    return Answer(replicas=pinned, reason=Reason.PINNED, message=message)


def _pause(situation: Situation, answer: Answer) -> Answer | None:
    """spec.scaling.paused holds the size as it is."""
    if not situation.spec.paused:
        return None
    message = f"paused at {situation.current}; otherwise {answer.replicas} ({answer.message})"
    return Answer(replicas=situation.current, reason=Reason.PAUSED, message=message)


def _hold_unreadable(situation: Situation, answer: Answer) -> Answer | None:
    """What cannot be read never lowers the size."""
    current = situation.current
    if not situation.unavailable or answer.replicas > current:
        return None
    if answer.replicas == current and answer.reason in (Reason.PAUSED, Reason.PINNED, Reason.FALLBACK):
        return None
    message = f"holding {current}: {situation.unavailable[0].message}"
    return Answer(replicas=current, reason=Reason.BROKER_UNREADABLE, message=message)


def _protect_busy(situation: Situation, answer: Answer) -> Answer | None:
    """Never fewer replicas than hold a job, while whenBusy is Wait.

    Where nobody can tell which replicas are busy, every running job is taken to be on a replica of its own.
    """
    if answer.replicas >= situation.current or situation.spec.scale_down.when_busy is WhenBusy.ALLOW:
        return None
    if situation.observation.replicas.drains:
        return None
    known = situation.observation.replicas.busy
    busy = min(situation.current, situation.work.running if known is None else known)
    if answer.replicas >= busy:
        return None
    message = f"{answer.replicas} wanted; {busy} of {situation.current} are busy and are waited for"
    return Answer(replicas=busy, reason=Reason.BUSY_WORKERS, message=message)


RULES: tuple[tuple[str, Rule], ...] = (
    ("stabilise", _stabilise),
    ("limit step", _limit_step),
    ("fallback", _fallback),
    ("at least", _at_least),
    ("at most", _at_most),
    ("budget", _budget),
    ("pin", _pin),
    ("pause", _pause),
    ("hold unreadable", _hold_unreadable),
    ("protect busy", _protect_busy),
)
