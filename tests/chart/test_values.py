"""values.schema.json: what is not there is refused, with the place named."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.chart.helm import CI_VALUES, refusal, rendered
from tests.chart.programs import CHART, run
from tools.chart_readme import with_tables

pytestmark = pytest.mark.unit

POOL: dict[str, Any] = {"queues": [{"name": "q"}], "maxReplicas": 3, "worker": {}}
BAD: list[tuple[dict[str, Any], str]] = [
    ({"operator": {"replica": 2}}, "operator"),
    ({"operator": {"replicas": "two"}}, "operator/replicas"),
    ({"operator": {"replicas": -1}}, "operator/replicas"),
    ({"operator": {"resources": {"limits": {"memory": "512 MB"}}}}, "operator/resources/limits/memory"),
    ({"operator": {"resources": {"limit": {}}}}, "operator/resources"),
    ({"operator": {"terminationGracePeriodSeconds": "30s"}}, "operator/terminationGracePeriodSeconds"),
    ({"operator": {"extraEnv": {"A": "b"}}}, "operator/extraEnv"),
    ({"operator": {"podDisruptionBudget": {"enable": True}}}, "operator/podDisruptionBudget"),
    ({"image": {"tags": "x"}}, "image"),
    ({"image": {"digest": "sha256:123"}}, "image/digest"),
    ({"image": {"pullPolicy": "Sometimes"}}, "image/pullPolicy"),
    ({"workerImage": {"digest": "0" * 64}}, "workerImage/digest"),
    ({"image": "ghcr.io/workerpool/operator"}, "image"),
    ({"logLevel": "TRACE"}, "logLevel"),
    ({"logFormat": "yaml"}, "logFormat"),
    ({"watchNamespaces": "shop"}, "watchNamespaces"),
    ({"watchNamespaces": ["Shop"]}, "watchNamespaces/0"),
    ({"watchNamespaces": ["shop", "shop"]}, "watchNamespaces"),
    ({"crds": {"install": "yes"}}, "crds/install"),
    ({"rbac": {"aggregate": True}}, "rbac"),
    ({"networkPolicy": {"brokerPorts": [70000]}}, "networkPolicy/brokerPorts/0"),
    ({"networkPolicy": {"apiServerPorts": ["https"]}}, "networkPolicy/apiServerPorts/0"),
    ({"redis": {"enabled": "false"}}, "redis/enabled"),
    ({"redis": {"persistence": {"size": "big"}}}, "redis/persistence/size"),
    ({"redis": {"persistance": {}}}, "redis"),
    ({"redis": {"maxmemory": "lots"}}, "redis/maxmemory"),
    ({"redis": {"shareWithNamespaces": ["a_b"]}}, "redis/shareWithNamespaces/0"),
    ({"metrics": {"service": {"port": 0}}}, "metrics/service/port"),
    ({"metrics": {"serviceMonitor": {"interval": "soon"}}}, "metrics/serviceMonitor/interval"),
    ({"metrics": {"serviceMonitors": {}}}, "metrics"),
    ({"metrics": {"renderMode": "maybe"}}, "metrics/renderMode"),
    ({"metrics": {"prometheusRule": {"thresholds": {"stuckFor": "5"}}}}, "metrics/prometheusRule/thresholds/stuckFor"),
    ({"metrics": {"prometheusRule": {"thresholds": {"stuck": "5m"}}}}, "metrics/prometheusRule/thresholds"),
    (
        {"metrics": {"prometheusRule": {"thresholds": {"pollErrorRatio": 2}}}},
        "metrics/prometheusRule/thresholds/pollErrorRatio",
    ),
    ({"metrics": {"dashboards": {"label": {}}}}, "metrics/dashboards"),
    ({"broker": {"secret": "x"}}, "broker"),
    ({"pools": {"Email": POOL}}, "propertyName 'Email'"),
    ({"pools": {"email": []}}, "pools/email"),
    ({"commonLabels": ["a"]}, "commonLabels"),
    ({"replicaCount": 2}, "replicaCount"),
]


@pytest.mark.parametrize(
    ("values", "place"), BAD, ids=lambda part: json.dumps(part) if isinstance(part, dict) else None
)
def test_bad_values_are_refused_at_their_place(values: dict[str, Any], place: str) -> None:
    said = refusal(values)
    assert "values don't meet the specifications of the schema" in said, said
    lines = [line for line in said.splitlines() if place.replace(".", "/") in line.replace(".", "/")]
    assert lines, said


def test_there_are_enough_of_them() -> None:
    assert len(BAD) >= 20


def test_every_value_has_a_place_in_the_schema_and_the_defaults_fit() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) - {"enabled", "global"} == set(values), "the two of a subchart"
    assert rendered()


def test_the_readme_is_made_from_the_values() -> None:
    readme = (CHART / "README.md").read_text(encoding="utf-8")
    assert readme == with_tables(readme, (CHART / "values.yaml").read_text(encoding="utf-8")), "make generate"
    assert "| `operator.replicas` | `2` |" in readme


@pytest.mark.parametrize("values", CI_VALUES, ids=lambda file: file.name)
def test_the_sets_of_values_fit_the_schema(values: Any) -> None:
    assert rendered(files=[str(values)])


def test_helm_packages_what_installs(tmp_path: Any) -> None:
    done = run("helm", "package", str(CHART), "--destination", str(tmp_path))
    assert done.returncode == 0, done.stderr
    [package] = tmp_path.glob("workerpool-*.tgz")
    listed = run("helm", "show", "readme", str(package)).stdout
    assert listed.rstrip() == (CHART / "README.md").read_text(encoding="utf-8").rstrip()
    shown = run("helm", "template", "workerpool", str(package), "--namespace", "shop")
    assert shown.returncode == 0, shown.stderr
    assert "kind: CustomResourceDefinition" in shown.stdout
