"""What ``helm install`` says at its end fits what it installed."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.chart.helm import notes

pytestmark = pytest.mark.unit

POOLS = {"email": {"queues": [{"name": "email"}], "maxReplicas": 3, "worker": {}}}


def commands(values: dict[str, Any] | None = None) -> list[str]:
    """The lines that are commands."""
    return [line.strip() for line in notes(values).splitlines() if re.match(r"\s+(kubectl|helm)\b", line)]


@pytest.mark.parametrize("values", [{}, {"pools": POOLS}, {"redis": {"enabled": False}}, {"watchNamespaces": ["shop"]}])
def test_the_next_three_commands_are_there_and_in_the_namespace(values: dict[str, Any]) -> None:
    found = commands(values)
    assert len(found) >= 3
    assert all("--namespace shop" in line for line in found), found


def test_what_cannot_be_tested_is_waited_for() -> None:
    nothing = {"metrics": {"enabled": False}, "redis": {"enabled": False}}
    assert any(line.startswith("helm test workerpool") for line in commands())
    assert not any(line.startswith("helm test") for line in commands(nothing))
    assert any("rollout status deployment/workerpool-operator" in line for line in commands(nothing))


def test_what_may_be_lost_is_said() -> None:
    assert "WARNING" not in notes()
    assert "Jobs are lost" in notes({"redis": {"persistence": {"enabled": False}}})
    assert "deletes every WorkerPool" in notes({"crds": {"keep": False}})


def test_the_demo_redis_is_called_what_it_is() -> None:
    assert re.search(r"demo", notes(), re.IGNORECASE)
    assert "workerpool-redis" in notes()
    without = notes({"redis": {"enabled": False}, "broker": {"existingSecret": "mine"}})
    assert "workerpool-redis" not in without


def test_a_redis_of_one_s_own_is_asked_for_where_none_is_named() -> None:
    nobody, named = (
        notes({"redis": {"enabled": False}}),
        notes({"redis": {"enabled": False}, "broker": {"existingSecret": "mine"}}),
    )
    assert "urlSecretRef: {name: YOUR-SECRET, key: url}" in nobody
    assert "urlSecretRef: {name: mine, key: url}" in named


def test_which_namespaces_are_served() -> None:
    said = notes({"watchNamespaces": ["shop", "billing"]})
    assert "billing" in said
    assert "billing" not in notes()


@pytest.mark.parametrize(
    "values",
    [
        {}, {"redis": {"enabled": False}}, {"watchNamespaces": ["shop"]}, {"pools": POOLS},
        {"crds": {"install": False}}, {"crds": {"keep": False}}, {"metrics": {"enabled": False}},
        {"rbac": {"create": False}}, {"redis": {"persistence": {"enabled": False}}},
        {"redis": {"auth": {"existingSecret": "mine"}}}, {"broker": {"url": "redis://r:6379/0"}},
    ],
    ids=str,
)  # fmt: skip
def test_they_are_whole_sentences_in_every_situation(values: dict[str, Any]) -> None:
    said = notes(values)
    assert not re.search(r"<no value>|%!|map\[|\.Values|<nil>", said), said
    assert "\n\n\n" not in said
    assert max(len(line) for line in said.splitlines()) <= 120
