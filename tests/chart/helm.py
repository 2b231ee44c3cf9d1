"""Helm as the tests call it: every rendering is made once a session, by the real program."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from tests.chart.programs import CHART, run

Object = dict[str, Any]
Values = Mapping[str, Any]

RELEASE = "workerpool"
NAMESPACE = "shop"
MONITORING = tuple(f"monitoring.coreos.com/v1/{kind}" for kind in ("PodMonitor", "PrometheusRule", "ServiceMonitor"))
WORKERPOOL = "workerpool.dev/v1alpha1/WorkerPool"
EVERYTHING = (*MONITORING, WORKERPOOL)  # what a cluster serves that lacks nothing

CI_VALUES = sorted((CHART / "ci").glob("*-values.yaml"))


class HelmError(Exception):
    """Helm refused. The text is what it said."""


def rendered(
    values: Values | None = None,
    *,
    release: str = RELEASE,
    namespace: str = NAMESPACE,
    api_versions: Sequence[str] = EVERYTHING,
    files: Iterable[str] = (),
) -> list[Object]:
    """The objects that an installation would make, those of the tests included.

    Raises:
        HelmError: Helm refused to render.
    """
    return list(yaml.safe_load_all(rendered_text(values, release, namespace, api_versions, files)))


def rendered_text(
    values: Values | None = None,
    release: str = RELEASE,
    namespace: str = NAMESPACE,
    api_versions: Sequence[str] = EVERYTHING,
    files: Iterable[str] = (),
) -> str:
    """The same as text."""
    return _template(json.dumps(values or {}), release, namespace, tuple(api_versions), tuple(files))


@functools.cache
def _template(values: str, release: str, namespace: str, api_versions: tuple[str, ...], files: tuple[str, ...]) -> str:
    arguments = ["template", release, str(CHART), "--namespace", namespace]
    for file in files:
        arguments += ["--values", file]
    for version in api_versions:
        arguments += ["--api-versions", version]
    done = run("helm", *arguments, "--values", "-", stdin=values)
    if done.returncode != 0:
        raise HelmError(done.stderr)
    return done.stdout


@functools.cache
def _notes(values: str, namespace: str) -> str:
    arguments = ("install", RELEASE, str(CHART), "--namespace", namespace, "--dry-run=client", "--values", "-")
    done = run("helm", *arguments, stdin=values)
    if done.returncode != 0:
        raise HelmError(done.stderr)
    _, _, notes = done.stdout.partition("\nNOTES:\n")
    assert notes, "there are no notes"
    return notes


def notes(values: Values | None = None, *, namespace: str = NAMESPACE) -> str:
    """What ``helm install`` says at its end, on a cluster that serves only Kubernetes' own kinds.

    Raises:
        HelmError: Helm refused to render.
    """
    return _notes(json.dumps(values or {}), namespace)


def refusal(values: Values, **options: Any) -> str:
    """What Helm says when it refuses values; the test fails where it takes them."""
    try:
        rendered(values, **options)
    except HelmError as error:
        return str(error)
    raise AssertionError(f"helm takes {json.dumps(values)}")


def of_kind(things: Iterable[Object], kind: str) -> list[Object]:
    """The objects of a kind."""
    return [thing for thing in things if thing["kind"] == kind]


def named(things: Iterable[Object], kind: str, name: str) -> Object:
    """The only object of a kind and a name."""
    [found] = [thing for thing in of_kind(things, kind) if thing["metadata"]["name"] == name]
    return found


def pod_specs(things: Iterable[Object]) -> list[tuple[str, Object]]:
    """Every pod that the objects lead to: where it comes from, and its template (metadata and spec)."""
    found = []
    for thing in things:
        where = f"{thing['kind']}/{thing['metadata']['name']}"
        if thing["kind"] == "Pod":
            found.append((where, {"metadata": thing["metadata"], "spec": thing["spec"]}))
        elif thing["kind"] in {"Deployment", "StatefulSet", "DaemonSet", "Job"}:
            found.append((where, thing["spec"]["template"]))
    return found
