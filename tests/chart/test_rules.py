from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart import promql
from tests.chart.exposition import exposed
from tests.chart.helm import Object, Values, named, of_kind, refusal, rendered
from tests.chart.programs import ROOT, run
from tests.chart.rule_cases import CASES, OPERATOR, Case

pytestmark = pytest.mark.unit

DOCS = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")


def rule_object(**more: Any) -> Object:
    values: Values = {"metrics": {"prometheusRule": {"enabled": True, **more}}}
    return named(rendered(values), "PrometheusRule", "workerpool-operator")


def alerts(**more: Any) -> dict[str, Object]:
    return {rule["alert"]: rule for group in rule_object(**more)["spec"]["groups"] for rule in group["rules"]}


def judged(folder: Path, cases: Iterable[Case]) -> tuple[bool, str]:
    """Whether promtool finds all as the cases say, and what it says."""
    rule_file, test_file = folder / "rules.yaml", folder / "test.yaml"
    rule_file.write_text(yaml.safe_dump(rule_object()["spec"]), encoding="utf-8")
    tests = [promtool_test(case) for case in cases]
    content = {"rule_files": [str(rule_file)], "evaluation_interval": "1m", "tests": tests}
    test_file.write_text(yaml.safe_dump(content), encoding="utf-8")
    done = run("promtool", "test", "rules", str(test_file))
    return done.returncode == 0, done.stdout + done.stderr


def promtool_test(case: Case) -> Object:
    """The case in promtool's form."""
    firing = f'ALERTS{{alertname="{case.alert}",alertstate="firing"}}'
    # promtool shows the expression where something is wrong, and so the comment
    expression = f"count by (namespace, pool, reason, operator) ({firing}) # {case.what}"
    labels = "{" + ", ".join(f'{key}="{value}"' for key, value in case.labels.items()) + "}"
    expected = [(case.fires_at, [{"labels": labels, "value": 1}])] if case.fires_at is not None else []
    expected += [(minute, []) for minute in case.quiet_at]
    return {
        "interval": "1m",
        "input_series": [{"series": series, "values": values} for series, values in case.series.items()],
        "promql_expr_test": [
            {"expr": expression, "eval_time": f"{minute}m", "exp_samples": samples} for minute, samples in expected
        ],
    }


def test_promtool_takes_the_rules(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(rule_object()["spec"]), encoding="utf-8")
    done = run("promtool", "check", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(alerts())} rules found" in done.stdout


def test_each_alert_fires_when_it_should_and_only_then(tmp_path: Path) -> None:
    fine, said = judged(tmp_path, CASES)
    assert fine, said


def test_promtool_would_say_if_one_did_not(tmp_path: Path) -> None:
    case = next(case for case in CASES if case.alert == "WorkerPoolStuck" and case.fires_at is None)
    fine, said = judged(tmp_path, [replace(case, fires_at=6)])
    assert not fine
    assert case.what in said


def test_no_alert_fires_for_another_installation(tmp_path: Path) -> None:
    others = []
    for case in CASES:
        if case.fires_at is None:
            continue
        series = {name.replace(OPERATOR, "other/workerpool-operator"): values for name, values in case.series.items()}
        absent = case.alert == "WorkerPoolNoLeader"  # nobody of this installation is scraped
        changed = replace(case, fires_at=None, quiet_at=(case.fires_at,), series=series)
        others.append(replace(case, series=series, labels={"operator": OPERATOR}) if absent else changed)
    assert len(others) > len(alerts())
    fine, said = judged(tmp_path, others)
    assert fine, said


def test_every_alert_is_tried_both_ways() -> None:
    firing = {case.alert for case in CASES if case.fires_at is not None}
    quiet = {case.alert for case in CASES if case.fires_at is None}
    assert firing == quiet == set(alerts())


async def test_every_expression_asks_for_what_is_exposed() -> None:
    there = await exposed()
    wrong = {name: bad for name, rule in alerts().items() if (bad := promql.unknown(rule["expr"], there))}
    assert not wrong
    for name, rule in alerts().items():
        names, selected = promql.metrics_of(rule["expr"]), rule["expr"].count(f'{{operator="{OPERATOR}"')
        assert 0 < len(names) <= selected, f"{name}: each metric is of this installation only"


def test_every_alert_says_what_to_do() -> None:
    anchors = {re.sub(r"\W", "", heading).lower() for heading in re.findall(r"(?m)^#+ (WorkerPool\w+)$", DOCS)}
    for name, rule in alerts().items():
        notes = rule["annotations"]
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}, name
        assert re.search(r"[^.]$", notes["summary"]), name
        assert notes["description"].endswith("."), name
        page, _, anchor = notes["runbook_url"].partition("#")
        assert page == "https://github.com/workerpool/workerpool/blob/main/docs/monitoring.md"
        assert anchor in anchors, name
        assert "@" not in str(rule), name
    assert anchors == {name.lower() for name in alerts()}, "the docs speak of an alert that is none"


@pytest.mark.parametrize(
    ("threshold", "value", "alert", "part", "shows"),
    [
        ("brokerDownFor", "33m", "WorkerPoolBrokerDown", "for", "33m"),
        ("oldestJobSeconds", 77, "WorkerPoolJobsTooOld", "expr", "> 77"),
        ("oldestJobSeconds", 1200000, "WorkerPoolJobsTooOld", "expr", "> 1200000"),
        ("loopLagSeconds", 0.5, "WorkerPoolLoopLag", "expr", "> 0.5"),
        ("pollErrorRatio", 0.25, "WorkerPoolPollErrors", "expr", "> 0.25"),
        ("flapping", 99, "WorkerPoolFlapping", "expr", "> 99"),
        ("deadLetters", 7, "WorkerPoolDeadLetters", "expr", "> 7"),
    ],
)
def test_thresholds_come_from_the_values(threshold: str, value: object, alert: str, part: str, shows: str) -> None:
    assert shows in alerts(thresholds={threshold: value})[alert][part].replace("\n", " ")


def test_every_threshold_is_used() -> None:
    defaults = yaml.safe_load((ROOT / "charts/workerpool/values.yaml").read_text(encoding="utf-8"))
    text = (ROOT / "charts/workerpool/rules/alerts.yaml").read_text(encoding="utf-8")
    used = set(re.findall(r"@(\w+)@", text)) - {"selector"}
    assert used == set(defaults["metrics"]["prometheusRule"]["thresholds"])


def test_alerts_can_be_left_out_labelled_and_added() -> None:
    mine = {"alert": "Mine", "expr": "vector({{ 1 }}) > 2"}
    changed = rule_object(
        disabled=["WorkerPoolFlapping"],
        alertLabels={"team": "shop", "severity": "loud"},
        additionalRules=[mine],
        labels={"release": "prometheus"},
        namespace="monitoring",
    )
    groups = {group["name"]: group["rules"] for group in changed["spec"]["groups"]}
    assert groups.pop("workerpool.additional") == [mine]
    names = [rule["alert"] for rules in groups.values() for rule in rules]
    assert sorted([*names, "WorkerPoolFlapping"]) == sorted(alerts())
    for rules in groups.values():
        assert {rule["labels"]["team"] for rule in rules} == {"shop"}
        assert "loud" not in {rule["labels"]["severity"] for rule in rules}, "the alert's own severity stays"
    assert changed["metadata"]["labels"]["release"] == "prometheus"
    assert changed["metadata"]["namespace"] == "monitoring"


def test_a_group_without_alerts_is_left_out() -> None:
    operator = ["WorkerPoolNoLeader", "WorkerPoolLoopStopped", "WorkerPoolLoopLag"]
    assert [group["name"] for group in rule_object(disabled=operator)["spec"]["groups"]] == ["workerpool.pools"]


def test_an_alert_to_leave_out_that_is_none_is_refused() -> None:
    said = refusal({"metrics": {"prometheusRule": {"enabled": True, "disabled": ["WorkerPoolNothing"]}}})
    assert "there is no alert WorkerPoolNothing" in said
    assert "WorkerPoolStuck" in said


def test_another_selector_and_runbook() -> None:
    changed = alerts(selector='job="mine"', runbookUrl="https://wiki.example/wp")
    assert 'workerpool_leader{job="mine"}' in changed["WorkerPoolNoLeader"]["expr"]
    assert changed["WorkerPoolStuck"]["annotations"]["runbook_url"] == "https://wiki.example/wp#workerpoolstuck"


def test_nothing_unless_asked() -> None:
    assert not of_kind(rendered(), "PrometheusRule")
