"""What an expression of PromQL speaks of, by its text; whether it is one at all, promtool says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import yaml

from tests.chart.exposition import OF_THE_TARGET
from tests.chart.programs import run

_METRIC = re.compile(r"\b((?:workerpool|process)_\w+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"")
_GROUPING = re.compile(r"\b(?:by|on|ignoring|without|group_left|group_right)\s*\(([^)]*)\)")


def metrics_of(expression: str) -> set[str]:
    """The names of the metrics."""
    return {name for name, _ in _METRIC.findall(expression)}


def unknown(expression: str, exposed: Mapping[str, frozenset[str]]) -> list[str]:
    """Metrics and labels that nobody exposes."""
    found = []
    there = set(OF_THE_TARGET)
    for name, matchers in _METRIC.findall(expression):
        if name not in exposed:
            found.append(f"{name} is not exposed")
            continue
        labels = exposed[name] | OF_THE_TARGET
        there |= labels
        found += [f"{name} has no label {label}" for label in _MATCHER.findall(matchers) if label not in labels]
    for group in _GROUPING.findall(expression):
        wanted = {label.strip() for label in group.split(",")} - {""}
        found += [f"nothing there has a label {label}" for label in sorted(wanted - there)]
    return found


def check(expressions: list[str], folder: Path) -> None:
    """Fail where promtool cannot parse one."""
    rules = [{"record": f"expression:{number}", "expr": text} for number, text in enumerate(expressions)]
    file = folder / "expressions.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "expressions", "rules": rules}]}), encoding="utf-8")
    done = run("promtool", "check", "rules", "--lint=none", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(expressions)} rules found" in done.stdout
