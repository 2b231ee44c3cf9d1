"""Renders the chart into what is applied without Helm: ``python -m tools.render_manifests [--check]``.

``manifests/install.yaml`` is all of it in one file. ``manifests/base`` is the same for kustomize, which refuses files
outside its folder and so needs a copy. Overlays get what only the chart knows how to write: rights of one namespace,
and what the Prometheus Operator reads.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parents[1]
MANIFESTS: Final = ROOT / "manifests"
NAMESPACE: Final = "workerpool-system"

_CHART: Final = ROOT / "charts" / "workerpool"
_RELEASE: Final = "workerpool"
_TIMEOUT_S: Final = 120

# No Redis: a password cannot be made up in a file that everybody has. `keep` is an annotation for Helm alone.
_VALUES: Final[Mapping[str, Any]] = {"redis": {"enabled": False}, "crds": {"keep": False}}
_MONITORING: Final[Mapping[str, Any]] = {
    "metrics": {
        "renderMode": "alwaysRender",
        "serviceMonitor": {"enabled": True},
        "prometheusRule": {"enabled": True},
        "dashboards": {"enabled": True},
    }
}
_WATCHED: Final = "shop"

_OF_HELM: Final = re.compile(
    r"^ *(?:helm\.sh/chart|app\.kubernetes\.io/managed-by): .*\n|^# Source: .*\n", re.MULTILINE
)
_HEADER: Final = "# Made from charts/workerpool by `make manifests`. Do not edit: change the chart and make it anew.\n"
_FIRST: Final = ("Namespace", "CustomResourceDefinition", "ServiceAccount", "ClusterRole", "Role")

_NAMESPACE: Final = f"""\
apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
  labels:
    app.kubernetes.io/name: workerpool
    app.kubernetes.io/part-of: workerpool
    pod-security.kubernetes.io/enforce: restricted
    pod-security.kubernetes.io/warn: restricted
"""


class RenderError(Exception):
    """Helm is missing or refused; the text says what to do."""


def files() -> dict[Path, str]:
    """Every file that is rendered, and what belongs in it.

    Raises:
        RenderError: Helm is missing or refused.
    """
    everything = render({})
    definition = [text for text in everything if _kind(text) == "CustomResourceDefinition"]
    rest = [text for text in everything if text not in definition]
    return {
        MANIFESTS / "install.yaml": joined([_NAMESPACE, *everything], _install_header()),
        MANIFESTS / "base" / "namespace.yaml": joined([_NAMESPACE]),
        MANIFESTS / "base" / "crd.yaml": joined(definition),
        MANIFESTS / "base" / "operator.yaml": joined(rest),
        MANIFESTS / "overlays" / "namespaced" / "rights.yaml": joined(_rights()),
        MANIFESTS / "overlays" / "monitoring" / "monitoring.yaml": joined(_added(_MONITORING, everything)),
    }


def render(values: Mapping[str, Any], namespace: str = NAMESPACE) -> list[str]:
    """The chart's objects as texts with their comments, without what is only of use to Helm.

    Raises:
        RenderError: Helm is missing or refused.
    """
    command = ["helm", "template", _RELEASE, str(_CHART), "--namespace", namespace, "--no-hooks", "--values", "-"]
    given = json.dumps({**_VALUES, **values})
    try:
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except FileNotFoundError as error:
        remedy = "install Helm 3.14 or later: https://helm.sh/docs/intro/install/"
        raise RenderError(f"helm is not on PATH; {remedy}") from error
    if done.returncode != 0:
        raise RenderError(f"helm template: {done.stderr.strip()}")
    return split(done.stdout)


def split(text: str) -> list[str]:
    """The objects of a rendering, in an order that any version of Helm leads to."""
    parts = (_OF_HELM.sub("", part).strip() + "\n" for part in re.split(r"^---\n", text, flags=re.MULTILINE))
    objects = [part for part in parts if yaml.safe_load(part)]
    return sorted(objects, key=_place)


def joined(texts: Iterable[str], header: str = _HEADER) -> str:
    """One file of several objects."""
    return header + "---\n".join(texts)


def stale(wanted: Mapping[Path, str]) -> list[Path]:
    """Files that are missing or have another content."""
    return [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]


def _rights() -> list[str]:
    """What replaces the ClusterRole where one namespace is served, the operator's own."""
    name = "workerpool-operator"
    made = render({"watchNamespaces": [_WATCHED]}, _WATCHED)
    roles = [text for text in made if _kind(text) in {"Role", "RoleBinding"}]
    return [text for text in roles if yaml.safe_load(text)["metadata"]["name"] == name]


def _added(values: Mapping[str, Any], without: list[str]) -> list[str]:
    """What these values add to what is there without them."""
    return [text for text in render(values) if text not in without]


def _install_header() -> str:
    return (
        _HEADER
        + "#   kubectl apply --server-side -f manifests/install.yaml\n"
        + "# The operator for the whole cluster, and the kind WorkerPool. It brings no Redis: pools name yours.\n"
    )


def _kind(text: str) -> str:
    return str(yaml.safe_load(text)["kind"])


def _place(text: str) -> tuple[int, str, str]:
    thing = yaml.safe_load(text)
    kind = thing["kind"]
    return (_FIRST.index(kind) if kind in _FIRST else len(_FIRST), kind, thing["metadata"]["name"])


def main(arguments: list[str] | None = None) -> int:
    """Write the files, or say which are stale; 0 if all is well."""
    parser = argparse.ArgumentParser(prog="python -m tools.render_manifests", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if a file is not what the chart renders")
    check = parser.parse_args(arguments).check
    try:
        wanted = files()
    except RenderError as error:
        sys.stderr.write(f"workerpool: {error}\n")
        return 1
    old = stale(wanted)
    for path in old:
        name = path.relative_to(ROOT)
        if check:
            sys.stderr.write(f"{name} is not what the chart renders: make manifests\n")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path], encoding="utf-8")
            print(f"{name} written")
    return 1 if check and old else 0


if __name__ == "__main__":
    sys.exit(main())
