from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tests.chart import promql
from tests.chart.exposition import OF_THE_TARGET, exposed
from tests.chart.helm import of_kind, rendered
from tests.chart.programs import CHART

pytestmark = pytest.mark.unit

FILES = sorted((CHART / "dashboards").glob("*.json"))
DASHBOARDS = {file.name: json.loads(file.read_text(encoding="utf-8")) for file in FILES}
OF_GRAFANA = {"__rate_interval": "5m", "datasource": "x"}


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All panels, those of closed rows too."""
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", ())


def targets() -> Iterator[tuple[str, dict[str, Any]]]:
    for dashboard in DASHBOARDS.values():
        for panel in panels(dashboard):
            for target in panel.get("targets", ()):
                yield f"{panel['title']} {target['refId']}", target


def variables(dashboard: dict[str, Any]) -> set[str]:
    return {variable["name"] for variable in dashboard["templating"]["list"]}


def filled(expression: str) -> str:
    """With Grafana's variables replaced, as they would be for one pool."""
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda name: OF_GRAFANA.get(name[1] or name[2], "x"), expression)


def test_there_is_one() -> None:
    assert list(DASHBOARDS) == ["workerpool.json"]
    assert len(list(targets())) > 30


async def test_every_query_asks_for_what_is_exposed() -> None:
    there = await exposed()
    wrong = {name: bad for name, target in targets() if (bad := promql.unknown(target["expr"], there))}
    assert not wrong
    asked = set[str]().union(*(promql.metrics_of(target["expr"]) for _, target in targets()))
    families = {name.removesuffix("_bucket").removesuffix("_count").removesuffix("_sum") for name in there}
    unseen = {name for name in families if name.startswith("workerpool_")} - {
        name.removesuffix("_bucket").removesuffix("_count") for name in asked
    }
    assert not unseen, "metrics that no panel shows"


async def test_every_variable_asks_for_what_is_exposed() -> None:
    there = await exposed()
    for dashboard in DASHBOARDS.values():
        for variable in dashboard["templating"]["list"]:
            if variable["type"] != "query":
                continue
            asked = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
            assert asked, variable["name"]
            assert promql.unknown(asked[1], there) == []
            [name] = promql.metrics_of(asked[1])
            assert asked[2] in there[name] | OF_THE_TARGET


def test_every_query_is_promql(tmp_path: Path) -> None:
    promql.check([filled(target["expr"]) for _, target in targets()], tmp_path)


def test_legends_name_labels_that_the_query_leaves() -> None:
    for name, target in targets():
        groupings = re.match(r".*?\bby \(([^)]*)\)", target["expr"].replace("\n", " "))
        left = {label.strip() for label in groupings[1].split(",")} if groupings else set(OF_THE_TARGET)
        assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= left, name


@pytest.mark.parametrize("name", DASHBOARDS)
def test_it_is_a_dashboard_of_schema_39(name: str) -> None:
    dashboard = DASHBOARDS[name]
    assert dashboard["schemaVersion"] >= 39
    assert dashboard["id"] is None, "an id belongs to one Grafana"
    assert dashboard["uid"]
    assert {"datasource", "namespace", "pool"} <= variables(dashboard)
    ids = [panel["id"] for panel in panels(dashboard)]
    assert len(ids) == len(set(ids))
    for panel in panels(dashboard):
        if panel["type"] == "row":
            continue
        assert panel["description"].endswith("."), panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        references = [target["refId"] for target in panel["targets"]]
        assert len(references) == len(set(references)), panel["title"]
        assert {json.dumps(target["datasource"]) for target in panel["targets"]} == {json.dumps(panel["datasource"])}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(dashboard)))
    assert used <= variables(dashboard) | {"__rate_interval", "__all"}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_no_panel_lies_on_another(name: str) -> None:
    places = [panel["gridPos"] for panel in DASHBOARDS[name]["panels"]]
    for one, other in combinations(places, 2):
        apart_x = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart_y = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert apart_x or apart_y, (one, other)
        assert one["x"] + one["w"] <= 24


def test_the_chart_carries_it_unchanged_and_only_when_asked() -> None:
    asked = {"enabled": True, "namespace": "grafana", "labels": {"dash": "1"}, "annotations": {"grafana_folder": "Q"}}
    [found] = [one for one in of_kind(rendered({"metrics": {"dashboards": asked}}), "ConfigMap") if "dash" in str(one)]
    metadata = found["metadata"]
    assert (metadata["name"], metadata["namespace"]) == ("workerpool-dashboard", "grafana")
    assert (metadata["labels"]["dash"], metadata["annotations"]) == ("1", {"grafana_folder": "Q"})
    assert metadata["labels"]["grafana_dashboard"] == "1", "maps of values are merged, as Helm does"
    assert {file: json.loads(text) for file, text in found["data"].items()} == DASHBOARDS
    assert not [one for one in rendered() if one["metadata"]["name"].endswith("-dashboard")]
