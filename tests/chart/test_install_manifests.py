"""install.yaml, the kustomize base and its overlays: made from the chart as it is, and taken by Kubernetes."""

from __future__ import annotations

import functools
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.helm import Object, named, of_kind, rendered
from tests.chart.kubeconform import Kubeconform
from tests.chart.test_pod_security import dry_run, placed
from tests.support.control_plane.api import path
from tools.kube_schemas import KUBERNETES
from tools.render_manifests import MANIFESTS, NAMESPACE, RenderError, files, main, render, split, stale

pytestmark = pytest.mark.integration

OVERLAYS = sorted(folder.name for folder in (MANIFESTS / "overlays").iterdir())
KUSTOMIZED = ["base", *(f"overlays/{name}" for name in OVERLAYS)]
OPERATOR = "workerpool-operator"


def installed() -> list[Object]:
    return list(yaml.safe_load_all((MANIFESTS / "install.yaml").read_text(encoding="utf-8")))


@functools.cache
def kustomized(folder: str) -> str:
    """What ``kubectl kustomize`` builds; the test fails with what it said where it does not, or warns."""
    command = ["kubectl", "kustomize", str(MANIFESTS / folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def built(folder: str) -> list[Object]:
    return list(yaml.safe_load_all(kustomized(folder)))


def identities(things: list[Object]) -> set[tuple[str, str | None, str]]:
    return {(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in things}


def container(things: list[Object]) -> Any:
    [only] = named(things, "Deployment", OPERATOR)["spec"]["template"]["spec"]["containers"]
    return only


def test_the_files_are_what_the_chart_renders_now() -> None:
    assert stale(files()) == [], "make manifests"


def test_install_yaml_is_the_chart_without_redis_and_with_its_namespace() -> None:
    there = installed()
    chart = rendered({"redis": {"enabled": False}}, namespace=NAMESPACE, api_versions=())
    tests = {identity for identity in identities(chart) if identity[0] == "Pod"}
    assert identities(there) == (identities(chart) - tests) | {("Namespace", None, NAMESPACE)}
    for one in there:
        if one["kind"] not in {"Namespace", "CustomResourceDefinition"}:
            [same] = [other for other in chart if identities([other]) == identities([one])]
            without = {key: value for key, value in one.items() if key != "metadata"}
            if one["kind"] == "Deployment":
                del same["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/managed-by"]
            assert without == {key: value for key, value in same.items() if key != "metadata"}
    assert [one["kind"] for one in there[:2]] == ["Namespace", "CustomResourceDefinition"]


def test_nothing_claims_to_be_helm_s() -> None:
    for thing in (*installed(), *(one for folder in KUSTOMIZED for one in built(folder))):
        marks = {**thing["metadata"].get("labels", {}), **thing["metadata"].get("annotations", {})}
        assert not [key for key in marks if key.startswith(("helm.sh/", "meta.helm.sh/"))]
        assert "app.kubernetes.io/managed-by" not in marks
        assert thing["kind"] != "Secret"


def test_the_base_is_install_yaml() -> None:
    order = functools.partial(sorted, key=lambda one: json.dumps(one, sort_keys=True))
    assert order(built("base")) == order(installed())


@pytest.mark.parametrize("version", [KUBERNETES[0], KUBERNETES[-1]])
@pytest.mark.parametrize("folder", KUSTOMIZED)
def test_what_is_built_fits_kubernetes(folder: str, version: str, kubeconform: Kubeconform) -> None:
    assert kubeconform.complaints(kustomized(folder), version) == []


@pytest.mark.parametrize("folder", ["install.yaml", *KUSTOMIZED])
def test_a_real_api_server_takes_it(folder: str, control_plane: Any) -> None:
    things = installed() if folder == "install.yaml" else built(folder)
    # `default` stands for the namespace, which a dry run does not make
    said = [dry_run(control_plane.api, thing) for thing in placed(things, "default")]
    assert [one for one in said if one] == []
    assert control_plane.api.find(path("deployments", "default", OPERATOR)) is None


def test_in_one_namespace_there_is_no_right_outside() -> None:
    there = built("overlays/namespaced")
    assert not of_kind(there, "ClusterRoleBinding")
    assert not of_kind(there, "Namespace"), "its labels are somebody else's"
    assert {one["metadata"]["name"] for one in of_kind(there, "ClusterRole")} == {
        f"workerpool-{who}" for who in ("view", "edit", "admin")
    }
    base = built("base")
    assert named(there, "Role", OPERATOR)["rules"] == named(base, "ClusterRole", OPERATOR)["rules"]
    assert {one["metadata"]["namespace"] for one in there if "namespace" in one["metadata"]} == {"shop"}
    subjects = [subject for one in of_kind(there, "RoleBinding") for subject in one["subjects"]]
    assert subjects == [{"kind": "ServiceAccount", "name": OPERATOR, "namespace": "shop"}] * 2
    assert container(there)["args"] == [*container(base)["args"], "--namespace=shop"]


def test_behind_a_mirror_no_image_is_of_elsewhere() -> None:
    there = built("overlays/mirror")
    assert container(there)["image"].startswith("registry.example.com/")
    images = {one["name"]: one["value"] for one in container(there)["env"]}
    assert images["WORKERPOOL_OPERATOR_WORKER_IMAGE"].startswith("registry.example.com/")
    assert named(there, "Deployment", OPERATOR)["spec"]["template"]["spec"]["imagePullSecrets"] == [
        {"name": "registry"}
    ]
    spec = kustomized("overlays/mirror").partition("kind: Deployment")[2]
    assert "ghcr.io" not in spec


def test_monitors_and_alerts_look_at_this_operator() -> None:
    there = built("overlays/monitoring")
    added = {one[0] for one in identities(there) - identities(built("base"))}
    assert added == {"ServiceMonitor", "PodMonitor", "PrometheusRule", "ConfigMap"}
    [monitor], [rule] = of_kind(there, "ServiceMonitor"), of_kind(there, "PrometheusRule")
    [service] = of_kind(there, "Service")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["namespaceSelector"] == {"matchNames": [NAMESPACE]}
    assert f'operator="{NAMESPACE}/{OPERATOR}"' in json.dumps(rule["spec"]).replace('\\"', '"')
    assert {one["metadata"]["labels"].get("release") for one in (monitor, rule)} == {"kube-prometheus-stack"}


def test_a_change_of_the_chart_makes_them_stale(tmp_path: Path) -> None:
    same, other, missing = tmp_path / "same", tmp_path / "other", tmp_path / "missing"
    same.write_text("a\n", encoding="utf-8")
    other.write_text("b\n", encoding="utf-8")
    assert stale({same: "a\n", other: "a\n", missing: "a\n"}) == [other, missing]


def test_any_order_and_spacing_of_helm_makes_the_same_file() -> None:
    role = "# Source: a/b.yaml\n# Why.\nkind: Role\nmetadata:\n  name: a\n  labels:\n    helm.sh/chart: a-1\n    b: c\n"
    space = "# Source: c.yaml\nkind: Namespace\nmetadata:\n  name: z\n"
    wanted = [
        "kind: Namespace\nmetadata:\n  name: z\n",
        "# Why.\nkind: Role\nmetadata:\n  name: a\n  labels:\n    b: c\n",
    ]
    assert split(f"---\n{role}---\n# Source: empty.yaml\n---\n{space}") == wanted
    assert split(f"---\n{space}\n\n---\n{role}") == wanted


def test_without_helm_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["--check"]) == 1
    assert "helm is not on PATH; install Helm" in capsys.readouterr().err


def test_a_chart_that_does_not_render_is_an_error() -> None:
    with pytest.raises(RenderError, match=r"(?s)helm template: .*nonsense"):
        render({"nonsense": 1})
