"""The operator's Deployment and what stands around it."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from tests.chart.helm import Object, named, of_kind, pod_specs, rendered
from workerpool_operator.cli import main

pytestmark = pytest.mark.unit

OPERATOR = "workerpool-operator"
DIGEST = "sha256:" + "0123456789abcdef" * 4
SELECTED = {"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component"}


def deployment(values: dict[str, Any] | None = None) -> Object:
    return named(rendered(values), "Deployment", OPERATOR)


def pod(values: dict[str, Any] | None = None) -> Object:
    return dict(deployment(values)["spec"]["template"]["spec"])


def container(values: dict[str, Any] | None = None) -> Object:
    [only] = pod(values)["containers"]
    return dict(only)


def environment(values: dict[str, Any] | None = None) -> dict[str, str]:
    return {one["name"]: one.get("value", "") for one in container(values)["env"]}


def test_two_replicas_that_share_a_lease_and_not_a_node() -> None:
    there = deployment()
    assert there["spec"]["replicas"] == 2
    [term] = pod()["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert term["podAffinityTerm"]["labelSelector"]["matchLabels"] == there["spec"]["selector"]["matchLabels"]
    [spread] = pod()["topologySpreadConstraints"]
    assert spread["whenUnsatisfiable"] == "ScheduleAnyway"
    budget = named(rendered(), "PodDisruptionBudget", OPERATOR)["spec"]
    assert budget["selector"]["matchLabels"] == there["spec"]["selector"]["matchLabels"]
    assert budget["maxUnavailable"] == 1


@pytest.mark.parametrize("values", [{"replicas": 1}, {"podDisruptionBudget": {"enabled": False}}], ids=str)
def test_no_budget_for_one_replica_or_where_none_is_wanted(values: dict[str, Any]) -> None:
    assert not of_kind(rendered({"operator": values}), "PodDisruptionBudget")


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({}, "ghcr.io/workerpool/{}:0.1.0"),
        ({"tag": "dev"}, "ghcr.io/workerpool/{}:dev"),
        ({"tag": "dev", "digest": DIGEST}, f"ghcr.io/workerpool/{{}}@{DIGEST}"),
        ({"registry": "mirror.example:5000", "repository": "x/y"}, "mirror.example:5000/x/y:0.1.0"),
        ({"registry": "", "repository": "local/x"}, "local/x:0.1.0"),
    ],
    ids=str,
)
def test_images_by_tag_or_digest_from_any_registry(image: dict[str, str], expected: str) -> None:
    assert container({"image": image})["image"] == expected.format("operator")
    worker = environment({"workerImage": image})["WORKERPOOL_OPERATOR_WORKER_IMAGE"]
    assert worker == expected.format("worker")


def test_the_redis_image_takes_the_same_shape() -> None:
    values = {"redis": {"image": {"registry": "mirror.example", "digest": DIGEST}}}
    [only] = named(rendered(values), "StatefulSet", "workerpool-redis")["spec"]["template"]["spec"]["containers"]
    assert only["image"] == f"mirror.example/library/redis@{DIGEST}"


def test_the_operator_knows_each_of_its_arguments() -> None:
    values = {
        "watchNamespaces": ["a", "b"],
        "allowedBrokerHosts": ["*.redis.svc"],
        "logLevel": "DEBUG",
        "logFormat": "text",
    }
    arguments = container(values)["args"]
    assert arguments[0] == "operator"
    given = {argument.partition("=")[0] for argument in arguments[1:]}
    known = CliRunner().invoke(main, ["operator", "--help"]).output
    assert given == {"--lease-name", "--log-level", "--log-format", "--namespace", "--allowed-broker-hosts"}
    assert all(one in known for one in given)
    assert {"--log-level=DEBUG", "--log-format=text", "--allowed-broker-hosts=*.redis.svc"} <= set(arguments)
    assert "--worker-image" in known, "what the environment variable is of"


def test_probes_ask_what_the_operator_answers() -> None:
    there = container()
    [port] = there["ports"]
    assert (port["name"], port["containerPort"]) == ("metrics", 8080)
    asked = {name: there[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {probe["port"] for probe in asked.values()} == {"metrics"}
    assert {name: probe["path"] for name, probe in asked.items()} == {
        "startupProbe": "/readyz", "livenessProbe": "/healthz", "readinessProbe": "/readyz",
    }  # fmt: skip


def test_only_tmp_can_be_written() -> None:
    assert container()["securityContext"]["readOnlyRootFilesystem"] is True
    [mount] = container()["volumeMounts"]
    [volume] = pod()["volumes"]
    assert (mount["mountPath"], volume["name"]) == ("/tmp", mount["name"])
    assert "emptyDir" in volume


@pytest.mark.parametrize(
    ("key", "value", "where"),
    [
        ("nodeSelector", {"a": "b"}, "nodeSelector"),
        ("tolerations", [{"key": "a", "operator": "Exists"}], "tolerations"),
        ("affinity", {"nodeAffinity": {}}, "affinity"),
        ("priorityClassName", "high", "priorityClassName"),
        ("terminationGracePeriodSeconds", 7, "terminationGracePeriodSeconds"),
        ("dnsPolicy", "ClusterFirst", "dnsPolicy"),
        ("dnsConfig", {"searches": ["x"]}, "dnsConfig"),
    ],
)
def test_settings_of_the_pod(key: str, value: object, where: str) -> None:
    assert pod({"operator": {key: value}})[where] == value


def test_settings_of_the_container() -> None:
    values: dict[str, Any] = {
        "operator": {
            "extraArgs": ["--host=127.0.0.1"],
            "extraEnv": [{"name": "A", "value": "b"}],
            "extraEnvFrom": [{"secretRef": {"name": "s"}}],
            "extraVolumes": [{"name": "v", "emptyDir": {}}],
            "extraVolumeMounts": [{"name": "v", "mountPath": "/v"}],
            "resources": {"limits": {"memory": "1Gi"}},
        },
        "imagePullSecrets": [{"name": "registry"}],
    }
    there = container(values)
    assert there["args"][-1] == "--host=127.0.0.1"
    assert environment(values)["A"] == "b"
    assert there["envFrom"] == [{"secretRef": {"name": "s"}}]
    assert {"name": "v", "mountPath": "/v"} in there["volumeMounts"]
    assert {"name": "v", "emptyDir": {}} in pod(values)["volumes"]
    assert there["resources"]["limits"]["memory"] == "1Gi"
    assert pod(values)["imagePullSecrets"] == [{"name": "registry"}]


def test_labels_and_annotations_reach_everything_and_selectors_nothing() -> None:
    values = {
        "commonLabels": {"team": "shop", "app.kubernetes.io/name": "hijacked"},
        "commonAnnotations": {"note": "x"},
        "operator": {"podLabels": {"extra": "1"}, "podAnnotations": {"p": "q"}, "annotations": {"d": "e"}},
    }
    for one in rendered(values):
        assert one["metadata"]["labels"]["team"] == "shop", one["metadata"]["name"]
        assert one["metadata"]["labels"]["app.kubernetes.io/name"] == "workerpool", one["metadata"]["name"]
        assert one["metadata"]["annotations"]["note"] == "x", one["metadata"]["name"]
    there = deployment(values)
    assert set(there["spec"]["selector"]["matchLabels"]) == SELECTED
    assert there["metadata"]["annotations"]["d"] == "e"
    template = there["spec"]["template"]["metadata"]
    assert (template["labels"]["extra"], template["labels"]["team"], template["annotations"]["p"]) == ("1", "shop", "q")


def test_an_upgrade_of_the_chart_alone_restarts_no_pod() -> None:
    for where, template in pod_specs(rendered()):
        assert not {"helm.sh/chart", "app.kubernetes.io/version"} & set(template["metadata"].get("labels") or {}) or (
            where.startswith("Pod/")
        ), where


@pytest.mark.parametrize(
    ("release", "values", "name"),
    [
        ("workerpool", {}, "workerpool-operator"),
        ("my-workerpool", {}, "my-workerpool-operator"),
        ("queues", {}, "queues-workerpool-operator"),
        ("queues", {"nameOverride": "wp"}, "queues-wp-operator"),
        ("queues", {"fullnameOverride": "wp"}, "wp-operator"),
    ],
)
def test_names(release: str, values: dict[str, Any], name: str) -> None:
    [found] = of_kind(rendered(values, release=release), "Deployment")
    assert found["metadata"]["name"] == name


def test_the_longest_release_name_makes_no_name_too_long() -> None:
    for one in rendered(release="r" * 53):
        assert len(one["metadata"]["name"]) <= 63, one["metadata"]["name"]


def test_the_network_policy_lets_out_what_the_operator_needs_and_no_more() -> None:
    policy = named(rendered(), "NetworkPolicy", OPERATOR)["spec"]
    assert policy["podSelector"]["matchLabels"] == deployment()["spec"]["selector"]["matchLabels"]
    assert sorted(policy["policyTypes"]) == ["Egress", "Ingress"]
    out = {port["port"] for rule in policy["egress"] for port in rule["ports"]}
    assert out == {53, 443, 6443, 6379, 6380, 26379}
    [inside] = policy["ingress"]
    assert inside["ports"] == [{"port": "metrics", "protocol": "TCP"}]


def test_the_network_policy_takes_other_ports_and_peers() -> None:
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    rule = {"ports": [{"port": 9999}]}
    values = {
        "networkPolicy": {
            "apiServerPorts": [8443], "brokerPorts": [], "metricsFrom": [peer],
            "extraEgress": [rule], "extraIngress": [rule],
        }
    }  # fmt: skip
    policy = named(rendered(values), "NetworkPolicy", OPERATOR)["spec"]
    assert {port["port"] for one in policy["egress"] for port in one["ports"]} == {53, 8443, 9999}
    assert peer in policy["ingress"][0]["from"]
    assert rule in policy["ingress"]
    off = rendered({"networkPolicy": {"enabled": False}, "redis": {"networkPolicy": {"enabled": False}}})
    assert not of_kind(off, "NetworkPolicy")
