"""docs/reasons.md has every reason there is, once in its own table, and none that there is not."""

from __future__ import annotations

import enum
import re
from pathlib import Path

import pytest

from workerpool_operator.core.decision import Reason
from workerpool_operator.core.observation import Cause
from workerpool_operator.core.policy import LIMITS
from workerpool_operator.kube.conditions import STEADY, ConditionReason, ConditionType
from workerpool_operator.kube.events import EventReason
from workerpool_operator.kube.problems import BLOCKS, ProblemKind
from workerpool_operator.ports import NoticeKind, OutcomeKind
from workerpool_operator.resource.status import CONDITION_REASON

pytestmark = pytest.mark.unit

PAGE = (Path(__file__).parents[3] / "docs" / "reasons.md").read_text(encoding="utf-8")
TOLD_ABOVE = {"ScaleConflict", "ScaleFailed", "BrokerUnreadable"}
"""Reasons of events that are also those of conditions."""


def tables() -> list[dict[str, str]]:
    """Each table of the page: the words of its first column, each with its row."""
    found: list[dict[str, str]] = []
    for block in re.findall(r"(?:^\|.*\n)+", PAGE, flags=re.MULTILINE):
        rows = block.splitlines()[2:]
        words = [re.match(r"\| `(\w+)` \|", row) for row in rows]
        found.append({word[1]: row for word, row in zip(words, rows, strict=True) if word})
    return found


def values(kind: type[enum.StrEnum]) -> set[str]:
    return {one.value for one in kind}


def test_each_table_has_the_words_of_its_enum() -> None:
    conditions, decisions, causes, problems, rest, events, outcomes, notices = (set(table) for table in tables())
    assert conditions == values(ConditionType)
    assert decisions == values(Reason)
    assert causes == values(Cause)
    assert problems == values(ProblemKind)
    assert rest == values(ConditionReason)
    assert events == values(EventReason) - TOLD_ABOVE
    assert outcomes == values(OutcomeKind)
    assert notices == values(NoticeKind)
    assert values(EventReason) >= TOLD_ABOVE


def test_the_tables_say_which_reasons_limit_and_which_block() -> None:
    _, decisions, _, problems, *_ = tables()
    assert {reason for reason, row in decisions.items() if "*limit*" in row} == {reason.value for reason in LIMITS}
    for kind in ProblemKind:
        named = set(re.findall(r"`(BrokerReachable|ScalingActive)`", problems[kind.value].split("|")[2]))
        assert named == BLOCKS.get(kind, frozenset())
    assert list(problems) == [kind.value for kind in ProblemKind]


def test_every_reason_is_one_word_that_kubernetes_takes() -> None:
    for kind in (Reason, Cause, ProblemKind, ConditionReason, EventReason):
        assert all(re.fullmatch(CONDITION_REASON, word) for word in values(kind))


def test_every_reason_of_a_decision_has_a_text() -> None:
    assert set(STEADY) == set(Reason)
