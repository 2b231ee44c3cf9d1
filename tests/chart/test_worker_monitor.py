"""How Prometheus finds worker pods, which the operator makes, and what they tell it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chart.exposition import worker
from tests.chart.helm import Object, named, of_kind, refusal, rendered
from tests.chart.programs import run
from workerpool_operator.kube.names import POOL_LABEL
from workerpool_operator.kube.render_pod import pod_template
from workerpool_operator.resource.load import load_pools

pytestmark = pytest.mark.unit

NAME = "workerpool-workers"
BY_SERVICE = {"serviceMonitor": {"enabled": True}}
BY_POD = {"podMonitor": {"enabled": True}}
_POOL = """
apiVersion: workerpool.dev/v1alpha1
kind: WorkerPool
metadata: {name: email, namespace: shop}
spec:
  queues: [{name: email}]
  broker: {url: "redis://redis:6379/0"}
  maxReplicas: 3
  worker: {podLabels: {app.kubernetes.io/name: mine, app.kubernetes.io/managed-by: me}, %s}
"""


def pod(worker_text: str) -> Object:
    """A worker pod as the operator makes it."""
    [pool] = load_pools(_POOL % worker_text)
    assert pool.spec.worker is not None
    return pod_template(pool, pool.spec.worker, worker_image="worker:1", broker_revision=None)


def ports(template: Object) -> set[str]:
    return {port["name"] for one in template["spec"]["containers"] for port in one.get("ports", ())}


def monitor(metrics: dict[str, Any], **values: Any) -> Object:
    return named(rendered({"metrics": metrics, **values}), "PodMonitor", NAME)


def selected(selector: Object, labels: dict[str, str]) -> bool:
    [one] = selector["matchExpressions"]
    assert (set(selector), one["operator"]) == ({"matchExpressions"}, "Exists")
    return one["key"] in labels


@pytest.mark.parametrize("asked", [BY_SERVICE, BY_POD])
def test_worker_pods_are_scraped_with_the_operator(asked: dict[str, Any]) -> None:
    found = monitor(asked)
    [endpoint] = found["spec"]["podMetricsEndpoints"]
    made = pod("concurrency: 2")
    assert selected(found["spec"]["selector"], made["metadata"]["labels"]), "whatever else the user calls them"
    assert endpoint["port"] in ports(made)
    assert (endpoint["path"], endpoint["honorLabels"]) == ("/metrics", True)
    assert found["spec"]["namespaceSelector"] == {"any": True}
    assert not of_kind(rendered(), "PodMonitor")


def test_pods_of_other_images_have_nothing_to_scrape_and_the_chart_s_own_pods_are_left_out() -> None:
    found = monitor(BY_SERVICE)["spec"]
    assert found["podMetricsEndpoints"][0]["port"] not in ports(pod("image: mine:1, command: [celery]"))
    for kind in ("Deployment", "StatefulSet"):
        for one in of_kind(rendered(), kind):
            assert not selected(found["selector"], one["spec"]["template"]["metadata"]["labels"])


def test_the_target_says_the_installation_and_the_pool() -> None:
    [endpoint] = monitor(BY_SERVICE)["spec"]["podMetricsEndpoints"]
    label = "__meta_kubernetes_pod_label_" + POOL_LABEL.translate(str.maketrans("./-", "___"))
    assert endpoint["relabelings"] == [
        {"action": "replace", "targetLabel": "operator", "replacement": "shop/workerpool-operator"},
        {"action": "replace", "sourceLabels": [label], "targetLabel": "pool"},
    ]


def test_only_the_namespaces_that_are_served() -> None:
    found = monitor(BY_SERVICE, watchNamespaces=["shop", "warehouse"])
    assert found["spec"]["namespaceSelector"] == {"matchNames": ["shop", "warehouse"]}


def test_it_is_found_like_the_other_monitor_unless_said_otherwise() -> None:
    other = {"serviceMonitor": {"enabled": True, "namespace": "monitoring", "labels": {"release": "p"}}}
    metadata = monitor(other)["metadata"]
    assert (metadata["namespace"], metadata["labels"]["release"]) == ("monitoring", "p")
    own: dict[str, Any] = {
        "namespace": "workers", "labels": {"release": "q"}, "annotations": {"a": "b"}, "interval": "60s",
        "scrapeTimeout": "5s", "relabelings": [{"action": "labeldrop", "regex": "x"}],
        "metricRelabelings": [{"action": "drop", "sourceLabels": ["le"], "regex": "0.01"}],
    }  # fmt: skip
    changed = monitor({**other, "workerPodMonitor": own})
    [endpoint] = changed["spec"]["podMetricsEndpoints"]
    metadata = changed["metadata"]
    assert (metadata["namespace"], metadata["labels"]["release"], metadata["annotations"]) == (
        "workers", "q", {"a": "b"},
    )  # fmt: skip
    assert (endpoint["interval"], endpoint["scrapeTimeout"]) == ("60s", "5s")
    assert endpoint["relabelings"][-1] == own["relabelings"][0]
    assert endpoint["metricRelabelings"] == own["metricRelabelings"]


@pytest.mark.parametrize("asked", [BY_SERVICE, BY_POD])
def test_it_can_be_left_out(asked: dict[str, Any]) -> None:
    there = rendered({"metrics": {**asked, "workerPodMonitor": {"enabled": False}}})
    assert not [one for one in of_kind(there, "PodMonitor") if one["metadata"]["name"] == NAME]


def test_a_cluster_that_serves_no_pod_monitors() -> None:
    served = ("monitoring.coreos.com/v1/ServiceMonitor",)
    there = rendered({"metrics": BY_SERVICE}, api_versions=served)
    assert [one["kind"] for one in there if one["kind"].endswith("Monitor")] == ["ServiceMonitor"]
    said = refusal({"metrics": {**BY_SERVICE, "renderMode": "failIfMissing"}}, api_versions=served)
    assert "metrics.workerPodMonitor.enabled: this cluster serves no PodMonitor" in said


def test_a_policy_lets_the_scraper_in_where_it_is_asked_for() -> None:
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    values = {"networkPolicy": {"workers": True, "metricsFrom": [peer]}, "watchNamespaces": ["shop", "warehouse"]}
    policies = [one for one in of_kind(rendered(values), "NetworkPolicy") if one["metadata"]["name"] == NAME]
    assert [one["metadata"]["namespace"] for one in policies] == ["shop", "warehouse"]
    for one in policies:
        assert selected(one["spec"]["podSelector"], pod("concurrency: 2")["metadata"]["labels"])
        assert one["spec"]["policyTypes"] == ["Ingress"], "what a worker may reach is not the chart's to say"
        assert one["spec"]["ingress"] == [{"ports": [{"port": "health", "protocol": "TCP"}], "from": [peer]}]
    [anybody] = [
        one
        for one in of_kind(rendered({"networkPolicy": {"workers": True}}), "NetworkPolicy")
        if one["metadata"]["name"] == NAME
    ]
    assert (anybody["metadata"]["namespace"], "from" in anybody["spec"]["ingress"][0]) == ("shop", False)
    assert not [one for one in of_kind(rendered(), "NetworkPolicy") if one["metadata"]["name"] == NAME]


def test_promtool_takes_what_a_worker_serves() -> None:
    done = run("promtool", "check", "metrics", stdin=worker())
    assert (done.returncode, done.stderr) == (0, "")


def test_promtool_would_say_if_something_were_wrong() -> None:
    done = run("promtool", "check", "metrics", stdin=worker().replace("workerpool_jobs_total", "workerpool_jobs"))
    assert "counter metrics should have" in done.stderr
