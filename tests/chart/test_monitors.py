"""How Prometheus finds the operator, and what happens where the Prometheus Operator is missing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chart.helm import EVERYTHING, MONITORING, WORKERPOOL, Object, named, notes, of_kind, refusal, rendered

pytestmark = pytest.mark.unit

KINDS = {"serviceMonitor": "ServiceMonitor", "podMonitor": "PodMonitor", "prometheusRule": "PrometheusRule"}
OWN = {"action": "replace", "targetLabel": "operator", "replacement": "shop/workerpool-operator"}


def asked(what: str, **more: Any) -> dict[str, Any]:
    return {"metrics": {what: {"enabled": True}, **more}}


def selects(selector: dict[str, str], labels: dict[str, str]) -> bool:
    return bool(selector) and selector.items() <= labels.items()


def test_the_service_monitor_selects_the_metrics_service_and_nothing_else() -> None:
    there = rendered(asked("serviceMonitor"))
    monitor = named(there, "ServiceMonitor", "workerpool-operator")
    selector = monitor["spec"]["selector"]["matchLabels"]
    found = [one for one in of_kind(there, "Service") if selects(selector, one["metadata"]["labels"])]
    assert [one["metadata"]["name"] for one in found] == ["workerpool-operator-metrics"]
    assert monitor["spec"]["namespaceSelector"] == {"matchNames": ["shop"]}
    [endpoint] = monitor["spec"]["endpoints"]
    [port] = found[0]["spec"]["ports"]
    assert (endpoint["port"], endpoint["path"]) == (port["name"], "/metrics")
    pods = named(there, "Deployment", "workerpool-operator")["spec"]["template"]
    assert selects(found[0]["spec"]["selector"], pods["metadata"]["labels"])
    assert port["targetPort"] in port_names(pods)


def test_the_pod_monitor_selects_the_operator_s_pods_and_nothing_else() -> None:
    there = rendered(asked("podMonitor"))
    monitor = named(there, "PodMonitor", "workerpool-operator")
    selector = monitor["spec"]["selector"]["matchLabels"]
    templates = [one["spec"]["template"] for kind in ("Deployment", "StatefulSet") for one in of_kind(there, kind)]
    templates += of_kind(there, "Pod")
    found = [one for one in templates if selects(selector, one["metadata"].get("labels") or {})]
    assert len(found) == 1
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    assert (endpoint["port"] in port_names(found[0]), endpoint["path"]) == (True, "/metrics")


def port_names(template: Object) -> set[str]:
    return {port["name"] for one in template["spec"]["containers"] for port in one.get("ports", ())}


@pytest.mark.parametrize("what", ["serviceMonitor", "podMonitor"])
def test_a_monitor_keeps_the_pools_namespace_and_names_the_installation(what: str) -> None:
    more = {
        "enabled": True, "namespace": "monitoring", "interval": "30s", "scrapeTimeout": "5s",
        "labels": {"release": "p"}, "annotations": {"a": "b"}, "relabelings": [{"action": "labeldrop", "regex": "x"}],
        "metricRelabelings": [{"action": "drop", "sourceLabels": ["pool"], "regex": "test-.*"}],
    }  # fmt: skip
    monitor = named(rendered({"metrics": {what: more}}), KINDS[what], "workerpool-operator")
    [endpoint] = monitor["spec"].get("endpoints") or monitor["spec"]["podMetricsEndpoints"]
    assert endpoint == {
        "port": "metrics", "path": "/metrics", "interval": "30s", "scrapeTimeout": "5s", "honorLabels": True,
        "relabelings": [OWN, {"action": "labeldrop", "regex": "x"}], "metricRelabelings": more["metricRelabelings"],
    }  # fmt: skip
    assert (monitor["metadata"]["namespace"], monitor["metadata"]["annotations"]) == ("monitoring", {"a": "b"})
    assert monitor["metadata"]["labels"]["release"] == "p"
    assert monitor["spec"]["namespaceSelector"] == {"matchNames": ["shop"]}, "the operator stays where it is"


def test_one_monitor_is_enough() -> None:
    both = {"metrics": {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}}
    assert "choose one" in refusal(both)


def test_a_service_monitor_needs_the_service() -> None:
    assert "metrics.enabled" in refusal(asked("serviceMonitor", enabled=False))


def test_a_pod_monitor_can_scrape_without_the_service() -> None:
    there = rendered(asked("podMonitor", enabled=False))
    assert of_kind(there, "PodMonitor")
    assert not [one for one in of_kind(there, "Service") if "metrics" in one["metadata"]["name"]]
    policy = named(there, "NetworkPolicy", "workerpool-operator")["spec"]
    assert any(port["port"] == "metrics" for rule in policy["ingress"] for port in rule["ports"])


def test_nothing_unless_asked() -> None:
    assert not {one["kind"] for one in rendered()} & set(KINDS.values())


@pytest.mark.parametrize("what", KINDS)
def test_where_the_kind_is_missing_it_is_left_out_refused_or_rendered(what: str) -> None:
    kind = KINDS[what]
    others = [version for version in EVERYTHING if not version.endswith(f"/{kind}")]
    assert not of_kind(rendered(asked(what), api_versions=others), kind)
    assert of_kind(rendered(asked(what, renderMode="alwaysRender"), api_versions=()), kind)
    assert of_kind(rendered(asked(what, renderMode="failIfMissing")), kind)
    said = refusal(asked(what, renderMode="failIfMissing"), api_versions=others)
    assert f"metrics.{what}.enabled: this cluster serves no {kind}" in said


def test_the_rest_is_the_same_where_the_kinds_are_missing() -> None:
    values = asked("serviceMonitor", prometheusRule={"enabled": True}, dashboards={"enabled": True})
    values["redis"] = {"auth": {"password": "not-a-new-one"}}
    without = rendered(values, api_versions=(WORKERPOOL,))
    assert without == [
        one for one in rendered(values) if not str(one["apiVersion"]).startswith("monitoring.coreos.com")
    ]
    assert len(MONITORING) == 3


def test_the_notes_tell_what_was_left_out() -> None:
    values = asked("serviceMonitor", prometheusRule={"enabled": True})
    assert "not installed, although asked for: PodMonitor, PrometheusRule, ServiceMonitor" in notes(values)
    assert "although asked for" not in notes(asked("serviceMonitor", renderMode="alwaysRender"))
    assert "although asked for" not in notes()
