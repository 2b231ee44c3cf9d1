"""Every set of values in ci/ and everything in manifests/ against strict schemas of all supported versions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.chart.helm import CI_VALUES, of_kind, rendered, rendered_text
from tests.chart.kubeconform import Kubeconform
from tests.chart.programs import CHART, ROOT, program, run
from tools import kube_sources
from tools.kube_schemas import KUBERNETES
from workerpool_operator.kube.crd import crd

pytestmark = pytest.mark.integration

PLAIN = [
    file
    for file in sorted((ROOT / "manifests").rglob("*.yaml"))
    if all("apiVersion" in (one or {}) for one in yaml.safe_load_all(file.read_text(encoding="utf-8")))
    and file.name != "kustomization.yaml"
]
WITH_POD_MONITOR = {"metrics": {"podMonitor": {"enabled": True}}}  # excludes the ServiceMonitor of "everything"
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p"},
    "spec": {"containers": [{"name": "c", "ports": [{"containerPort": 80}], "resources": {"limits": {"cpu": 1}}}]},
}
POOL = {
    "apiVersion": "workerpool.dev/v1alpha1",
    "kind": "WorkerPool",
    "metadata": {"name": "p"},
    "spec": {"queues": [{"name": "q"}], "broker": {"url": "redis://r:6379/0"}, "maxReplicas": 3, "worker": {}},
}
MONITOR = {
    "apiVersion": "monitoring.coreos.com/v1",
    "kind": "ServiceMonitor",
    "metadata": {"name": "m"},
    "spec": {"selector": {}, "endpoints": [{"port": "metrics"}]},
}


def test_there_are_sets_of_values_and_manifests() -> None:
    names = {file.name.removesuffix("-values.yaml") for file in CI_VALUES}
    assert {"default", "external-redis", "namespaced", "everything", "minimal", "digest"} <= names
    assert {file.name for file in PLAIN} > {"crd.yaml", "rbac.yaml", "email.yaml"}


@pytest.mark.parametrize("values", CI_VALUES, ids=lambda file: file.name)
def test_helm_lint_has_nothing_to_say(values: Path) -> None:
    done = run("helm", "lint", "--strict", str(CHART), "--values", str(values), "--namespace", "shop")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 chart(s) failed" in done.stdout
    assert "[WARNING]" not in done.stdout + done.stderr


@pytest.mark.parametrize("values", CI_VALUES, ids=lambda file: file.name)
def test_every_set_of_values_renders_what_two_releases_can_both_have(values: Path) -> None:
    there = rendered(files=[str(values)])
    assert of_kind(there, "Deployment")
    names = [(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in there]
    assert len(names) == len(set(names)), "two objects of one name"
    there = rendered({"fullnameOverride": ""}, files=[str(values)])
    other = rendered({"fullnameOverride": ""}, files=[str(values)], release="other")
    mine, theirs = (
        {(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in things}
        for things in (there, other)
    )
    shared = {name for name in mine & theirs if name[0] != "WorkerPool"}  # named by the values
    assert shared <= {("CustomResourceDefinition", None, "workerpools.workerpool.dev")}


@pytest.mark.parametrize("version", KUBERNETES)
def test_all_of_it_fits_this_kubernetes(version: str, kubeconform: Kubeconform) -> None:
    texts = [rendered_text(files=(str(file),)) for file in CI_VALUES]
    texts.append(rendered_text(WITH_POD_MONITOR))
    texts += [file.read_text(encoding="utf-8") for file in PLAIN]
    assert kubeconform.complaints("\n---\n".join(texts), version) == []


def test_every_kind_of_the_chart_was_looked_at() -> None:
    kinds = {one["kind"] for file in CI_VALUES for one in rendered(files=[str(file)])}
    kinds |= {one["kind"] for one in rendered(WITH_POD_MONITOR)}
    assert kinds > {"WorkerPool", "ServiceMonitor", "PrometheusRule", "NetworkPolicy", "StatefulSet", "Secret", "Pod"}
    assert "PodMonitor" in kinds


@pytest.mark.parametrize("version", [KUBERNETES[0], KUBERNETES[-1]])
@pytest.mark.parametrize(
    ("thing", "where", "value"),
    [
        (POD, ("spec", "conatiners"), []),
        (POD, ("spec", "containers", 0, "imagePullpolicy"), "Always"),
        (POD, ("spec", "containers", 0, "ports", 0, "containerPort"), "eighty"),
        (POD, ("spec", "containers", 0, "resources", "limits", "cpu"), True),
        (POD, ("metadata", "label"), {}),
        (POOL, ("spec", "maxReplica"), 3),
        (POOL, ("spec", "scaling"), {"scaleDown": {"stabilisationSeconds": 3}}),
        (MONITOR, ("spec", "endpoints", 0, "intervall"), "15s"),
    ],
    ids=str,
)
def test_the_schemas_refuse_what_they_do_not_name(
    kubeconform: Kubeconform, version: str, thing: dict[str, object], where: tuple[str | int, ...], value: object
) -> None:
    assert kubeconform.complaints(yaml.safe_dump(thing), version) == []
    changed = json.loads(json.dumps(thing))
    inner = changed
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = value
    assert len(kubeconform.complaints(yaml.safe_dump(changed), version)) == 1


def test_a_kind_without_a_schema_is_an_error(kubeconform: Kubeconform) -> None:
    unknown = {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "d"}, "spec": {}}
    [said] = kubeconform.complaints(yaml.safe_dump(unknown), KUBERNETES[0])
    assert "could not find schema" in said


def test_where_schemas_cannot_be_had_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("WORKERPOOL_TEST_DOWNLOADS", "")
    source = kube_sources.Source(module="k8s.io/kubernetes", repository="x/y", version="1.31.14", files=("a",))
    with pytest.raises(kube_sources.SchemaError, match=r"k8s.io/kubernetes v1.31.14: no go on PATH;.*install Go"):
        kube_sources.fetch(source)


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(pytest.fail.Exception, match="promtool is not on PATH; install Prometheus"):
        program("promtool")


def test_the_crd_is_the_model_s() -> None:
    assert yaml.safe_load((CHART / "files" / "crd.yaml").read_text(encoding="utf-8")) == crd()
    assert (CHART / "files" / "crd.yaml").read_bytes() == (ROOT / "manifests" / "crd.yaml").read_bytes()
    [installed] = of_kind(rendered(), "CustomResourceDefinition")
    assert installed["spec"] == crd()["spec"]
    assert installed["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert installed["metadata"]["labels"]["app.kubernetes.io/instance"] == "workerpool"
    assert not of_kind(rendered({"crds": {"install": False}}), "CustomResourceDefinition")
    [going] = of_kind(rendered({"crds": {"keep": False}}), "CustomResourceDefinition")
    assert "helm.sh/resource-policy" not in (going["metadata"].get("annotations") or {})
