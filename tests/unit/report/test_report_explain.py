"""A decision explained: nothing that went in is left out, every rule has its line, and unknown is never 0."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import math
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from tests.unit.report.records import AWAY, START_S, make_record
from workerpool_operator.core.decision import Decision, History, Reason, RuleOutcome
from workerpool_operator.core.observation import (
    ActiveSchedule,
    Allotment,
    InFlight,
    Observation,
    QueueDepth,
    Replicas,
    Unavailable,
)
from workerpool_operator.core.policy import RULES, decide
from workerpool_operator.core.spec import PoolSpec
from workerpool_operator.ports import CycleRecord, Outcome, OutcomeKind
from workerpool_operator.report.explain import NEXT, chain, explanation, logged
from workerpool_operator.report.explain_text import render
from workerpool_operator.report.jsonlog import decision_line
from workerpool_operator.report.plain import plain

pytestmark = pytest.mark.unit

SPEC = PoolSpec(max_replicas=20)
TRACE = (
    RuleOutcome("demand", 6, 1, Reason.WORK_WAITING, "3 waiting + 2 running at 10 per replica: 1"),
    RuleOutcome("stabilise", 1, 6, Reason.STABILIZING, "1 wanted; 6 until the window of 60 s agrees (51 s left)"),
)


def worked() -> CycleRecord:
    """A decision in which two rules had a say."""
    record = make_record(ready=3, oldest_job_s=3.2, running=2, scheduled=5, current=6, busy=2)
    seen = replace(record.observation, schedules=(ActiveSchedule(name="black-friday", min_replicas=3),))
    decision = Decision(
        current=6, target=6, reason=TRACE[-1].reason, message=TRACE[-1].message, demand_replicas=1, trace=TRACE
    )
    return replace(record, observation=seen, decision=decision)


def text(record: CycleRecord, *, width: int = 80, age_s: float = 0.4, **options: Any) -> list[str]:
    explained = explanation(record, now_s=record.observation.time_s + age_s, **options)
    lines = render(json.loads(json.dumps(explained)), width=width, asked="a test", zone=dt.UTC)
    return ["".join(part for part, _ in line) for line in lines]


def test_a_worked_decision_reads_from_top_to_bottom(monkeypatch: pytest.MonkeyPatch) -> None:
    some = ("stabilise", "at least", "at most", "hold unreadable", "protect busy")
    monkeypatch.setattr("workerpool_operator.report.explain.RULES", tuple((name, None) for name in some))
    lines = text(worked())
    learnt, rules = lines.index("Learnt by watching"), lines.index("Rule by rule")
    assert lines[:learnt] == [
        "default/email: 6 replicas  Stabilizing",
        "1 wanted; 6 until the window of 60 s agrees (51 s left)",
        "decided at 22:13:20, 0.4 s ago; told by a test",
        "",
        "What went in",
        "  queue email            3 ready, the oldest waits 3.2 s",
        "  jobs                   2 running, 5 scheduled, 0 stranded",
        "  replicas               6 asked for last, 6 ready, 2 busy, 0 leaving",
        "  schedule black-friday  in force: minReplicas 3",
        "",
    ]
    assert lines[rules:] == [
        "Rule by rule",
        "  rule             replicas  reason       message",
        "  demand           6 -> 1    WorkWaiting  3 waiting + 2 running at 10 per",
        "                                          replica: 1",
        "  stabilise        1 -> 6    Stabilizing  1 wanted; 6 until the window of 60 s",
        "                                          agrees (51 s left)",
        "  at least         6         -",
        "  at most          6         -",
        "  hold unreadable  6         -",
        "  protect busy     6         -",
        "",
        "What came of it",
        "  outcome          Unchanged",
        "  the work asked   for 1 replica",
        "  what comes next  it moves when the window agrees: in the seconds that the",
        "                   message says, unless more work comes",
        "                   it is decided again within 1.0 s",
    ]


def test_what_was_asked_for_has_the_names_of_the_yaml() -> None:
    lines = text(worked())
    asked = " ".join(lines[lines.index("Asked for") + 1 : lines.index("Rule by rule")])
    for pair in ("maxReplicas: 20", "backlogPerReplica: 10", "scaleDown.whenBusy: Wait"):
        assert pair in asked
    assert "pinnedReplicas" not in asked


@pytest.mark.parametrize("width", [60, 72, 80, 100, 140])
def test_no_line_is_wider_than_there_is_room(width: int) -> None:
    long = replace(worked(), outcome=Outcome(kind=OutcomeKind.FAILED, message="the API server said no, " * 12))
    assert max(len(line) for line in text(long, width=width)) <= width


def test_the_time_of_the_decision_is_no_measure() -> None:
    seen = Observation(
        time_s=START_S + 0.123456789,
        replicas=Replicas(current=0, ready=0, busy=0),
        queues={"email": QueueDepth(ready=0)},
        in_flight=InFlight(),
    )
    record = replace(worked(), observation=seen, decision=decide(seen, SPEC, History()))
    assert not any(line.startswith("  time ") for line in text(record))


def test_the_last_change_of_size_is_told_too() -> None:
    change = make_record(at_s=-100, ready=60, target=6, reason=Reason.WORK_WAITING, message="60 waiting: 6")
    lines = text(worked(), change=change)
    assert "  last change      0 -> 6 at 22:11:40, 1 m 40 s ago: WorkWaiting: 60 waiting: 6" in lines
    assert not any("last change" in line for line in text(change, change=change))


def test_every_reason_says_what_comes_next() -> None:
    assert set(NEXT) == set(Reason)


def test_a_real_decision_has_all_rules_in_their_order_and_joins_up() -> None:
    seen = Observation(
        time_s=START_S,
        replicas=Replicas(current=30, ready=30, busy=25),
        queues={"email": QueueDepth(ready=900)},
        in_flight=InFlight(running=25),
        allotment=Allotment(budget="db", replicas=7, share=7, used=30, max_replicas=40, pools=3),
    )
    decision = decide(seen, SPEC, History())
    rows = chain(30, decision.trace)
    names = [row["rule"] for row in rows]
    assert names[-len(RULES) :] == [name for name, _ in RULES]
    assert {outcome.rule for outcome in decision.trace} <= set(names)
    assert rows[0]["before"] == 30
    assert all(above["after"] == below["before"] for above, below in itertools.pairwise(rows))
    assert rows[-1]["after"] == decision.target
    changed = [(row["before"], row["after"], row["reason"], row["message"]) for row in rows if row["changed"]]
    assert changed == [(o.before, o.after, o.reason.value, o.message) for o in decision.trace]
    assert all(row["before"] == row["after"] and row["reason"] is None for row in rows if not row["changed"])


def test_what_could_not_be_read_is_null_with_its_cause_and_never_zero() -> None:
    queues: dict[str, QueueDepth | Unavailable] = {"email": QueueDepth(ready=7), "sms": AWAY}
    record = make_record(queues=queues, running=AWAY, current=3, busy=None, reason=Reason.BROKER_UNREADABLE)
    explained = explanation(record, now_s=START_S)
    assert explained["totals"] == {"ready": None, "running": None, "scheduled": None, "oldestJobSeconds": None}
    assert explained["queues"][1]["ready"] is None
    assert explained["queues"][1]["unavailable"]["cause"] == "Unreachable"
    assert explained["inFlight"] == {"unavailable": {"cause": "Unreachable", "message": AWAY.message}}
    lines = text(record)
    assert "  all queues   ? ready" in lines
    assert any(line.startswith("  queue sms    ? Unreachable: redis://localhost:6379 refuses") for line in lines)
    assert any(line.startswith("  jobs         ? Unreachable") for line in lines)
    assert "  replicas     3 asked for last, 3 ready, ? busy, 0 leaving" in lines


def test_a_pool_at_rest_says_how_old_its_decision_may_get() -> None:
    rested = " ".join(text(make_record(), age_s=7.3, rest_s=10.0))
    assert "7.3 s ago; a pool at rest at zero is decided every 10 s" in rested
    assert "any work wakes it" in rested
    for busy in (make_record(current=2), make_record(scheduled=1), make_record(ready=AWAY), make_record(ready=1)):
        assert "at rest" not in " ".join(text(busy, age_s=7.3, rest_s=10.0))
    assert "at rest" not in " ".join(text(make_record(), age_s=7.3))


def test_an_old_decision_has_its_date() -> None:
    assert text(make_record(), age_s=90_000)[2].startswith("decided at 2023-11-14 22:13:20, 1 d 01 h ago")


def test_a_failure_is_said_with_its_message() -> None:
    record = replace(make_record(target=4), outcome=Outcome(kind=OutcomeKind.FAILED, message="a quota says no"))
    assert "  outcome          Failed: a quota says no" in text(record)


def test_a_terminal_is_safe_from_what_a_message_holds() -> None:
    lines = text(make_record(queues={"evil\x1b[2J\n": QueueDepth(ready=1)}, message="one\ntwo\x1b[31m"))
    assert not any("\x1b" in line or "\n" in line for line in lines)
    explained = explanation(worked(), now_s=START_S)
    explained["rules"][0]["rule"] = explained["rules"][0]["reason"] = explained["decision"]["reason"] = "\x1b[2J"
    shown = render(explained, width=80)
    assert not any("\x1b" in text for line in shown for text, _ in line)


class Measured(NamedTuple):
    job_seconds_s: float = math.nan
    many: tuple[float, ...] = (0.5,) * 24
    since_s: float = START_S - 5
    inner: tuple[Any, ...] | None = None
    few: tuple[Any, ...] = (1, 0.25)
    parts: tuple[Any, ...] = (TRACE[0],)
    short_s: float = 0.004
    replicas: int = 12_345

    def learnt(self) -> Measured:
        return self


def test_whatever_is_learnt_is_told_under_its_name() -> None:
    decision = worked().decision
    history = decision.history._replace(measures=Measured())  # type: ignore[arg-type] # fields that no core has yet
    lines = text(replace(worked(), decision=decision._replace(history=history)))
    at = lines.index("Learnt by watching")
    assert lines[at + 1 : at + 9] == [
        "  job seconds  -",
        "  many         24 values",
        "  since        22:13:15",
        "  inner        -",
        "  few          1, 0.25",
        "  parts        1 value",
        "  short        0.004 s",
        "  replicas     12,345",
    ]


def test_plain_values_are_json_whatever_they_were() -> None:
    value = plain({"a": math.inf, "b": Reason.IDLE, "c": SPEC, "d": {1}, "e": TRACE[0]})
    assert json.loads(json.dumps(value)) == value
    assert value["a"] is None
    assert value["b"] == "Idle"
    assert value["c"]["scaleUp"] == {"stabilizationSeconds": 0, "maxReplicasPerStep": None}
    assert value["d"] == [1]
    assert value["e"]["reason"] == "WorkWaiting"


def test_a_line_of_the_log_is_explained_as_far_as_it_goes() -> None:
    line = json.loads(decision_line(worked()))
    explained = logged(line, now_s=START_S + 60)
    whole = explanation(worked(), now_s=START_S + 60)
    assert explained.keys() == whole.keys()
    assert explained["rules"] == whole["rules"]
    assert explained["outcome"] == whole["outcome"]
    assert explained["totals"] == whole["totals"]
    assert explained["decision"]["demandReplicas"] == 1
    lines = ["".join(part for part, _ in one) for one in render(explained, width=80, zone=dt.UTC)]
    assert "  queues  3 ready, the oldest waits 3.2 s" in lines
    assert "  jobs    2 running, 5 scheduled" in lines
    assert "Learnt by watching" not in lines


def test_a_line_of_an_older_log_has_no_rules_to_show() -> None:
    line = {**json.loads(decision_line(worked()))}
    del line["trace"], line["outcome"]
    lines = ["".join(part for part, _ in one) for one in render(logged(line, now_s=START_S), width=80, zone=dt.UTC)]
    assert "  this line of the log was written without the rules" in lines


def test_a_decision_that_is_late_is_marked() -> None:
    assert any(line.startswith("! this is late: it should be decided every 1.0 s") for line in text(worked(), age_s=60))
    assert not any("late" in line for line in text(worked(), age_s=10))
    assert not any("late" in line for line in text(make_record(), age_s=12, rest_s=10.0))
