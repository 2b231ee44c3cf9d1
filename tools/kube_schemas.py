"""Strict JSON schemas of Kubernetes' kinds, for kubeconform: ``python -m tools.kube_schemas [VERSION ...]``.

They are made from what is published: the OpenAPI document of each release of Kubernetes, and the CRDs of the Prometheus
Operator. They are kept in the user's cache, outside the checkout. Only the kinds that the chart and the manifests use
are written: another one makes kubeconform say that it has no schema.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import yaml

from tools import strict_schemas
from tools.kube_sources import SchemaError, Source, fetch
from tools.strict_schemas import Schema, built_in, strict_custom

KUBERNETES = ("1.31.14", "1.32.13", "1.33.13", "1.34.4", "1.35.4", "1.36.3")
PROMETHEUS_OPERATOR = "0.85.0"
MONITORING = ("podmonitors", "prometheusrules", "servicemonitors")


def kubernetes(version: str) -> Source:
    """Where a release of Kubernetes has its OpenAPI document."""
    return Source(
        module="k8s.io/kubernetes",
        repository="kubernetes/kubernetes",
        version=version,
        files=("api/openapi-spec/swagger.json",),
    )


def prometheus_operator() -> Source:
    """Where the Prometheus Operator has its CRDs."""
    folder = "example/prometheus-operator-crd/monitoring.coreos.com_"
    return Source(
        module="github.com/prometheus-operator/prometheus-operator",
        repository="prometheus-operator/prometheus-operator",
        version=PROMETHEUS_OPERATOR,
        files=tuple(f"{folder}{name}.yaml" for name in MONITORING),
    )


def cache_folder() -> Path:
    """Where is kept what was fetched, and what was made of it."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "workerpool" / "kube-schemas"


def schema_folder() -> Path:
    """Where schemas are kept; another one after a change of how they are made."""
    makers = (Path(__file__), Path(strict_schemas.__file__))
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in makers)).hexdigest()
    return cache_folder() / f"made-{digest[:12]}"


def locations(folder: Path) -> list[str]:
    """What kubeconform is told by ``-schema-location`` to find what a folder holds."""
    return [
        f"{folder}/{{{{ .NormalizedKubernetesVersion }}}}/{{{{ .ResourceKind }}}}{{{{ .KindSuffix }}}}.json",
        f"{folder}/crds/{{{{ .Group }}}}/{{{{ .ResourceKind }}}}_{{{{ .ResourceAPIVersion }}}}.json",
    ]


def ensure(versions: Sequence[str] = KUBERNETES) -> Path:
    """Make what the cache lacks; the folder for :func:`locations`.

    Raises:
        SchemaError: Something is nowhere to be had.
    """
    folder = schema_folder()
    with _alone(cache_folder()):
        for version in versions:
            _once(folder / f"v{version}", partial(_write_kubernetes, version))
        _once(folder / "crds" / "monitoring.coreos.com", _write_monitoring)
    return folder


def monitoring_crds() -> list[Schema]:
    """The CRDs of ServiceMonitor, PodMonitor and PrometheusRule, as published.

    Raises:
        SchemaError: They are nowhere to be had.
    """
    folder = ensure(()) / "crds" / "monitoring.coreos.com"
    return [yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8")) for name in MONITORING]


def write_crd(definition: Schema, folder: Path) -> None:
    """Write the schemas of a CustomResourceDefinition where the second of :func:`locations` looks."""
    spec = definition["spec"]
    folder.mkdir(parents=True, exist_ok=True)
    for version in spec["versions"]:
        schema = strict_custom(version["schema"]["openAPIV3Schema"])
        # a CRD says of the metadata only what goes beyond Kubernetes' own rules
        schema["properties"].setdefault("metadata", {}).pop("additionalProperties", None)
        schema["properties"]["apiVersion"] = {"enum": [f"{spec['group']}/{version['name']}"]}
        schema["properties"]["kind"] = {"enum": [spec["names"]["kind"]]}
        schema["required"] = sorted({*schema.get("required", ()), "apiVersion", "kind", "metadata"})
        file = folder / f"{spec['names']['kind'].lower()}_{version['name']}.json"
        file.write_text(json.dumps(schema), encoding="utf-8")


def _write_kubernetes(version: str, target: Path) -> None:
    [text] = _published(kubernetes(version)).values()
    for name, schema in built_in(json.loads(text)):
        (target / name).write_text(json.dumps(schema), encoding="utf-8")


def _write_monitoring(target: Path) -> None:
    for file, text in _published(prometheus_operator()).items():
        (target / file.rpartition("_")[2]).write_bytes(text)
        write_crd(yaml.safe_load(text), target)


def _published(source: Source) -> Mapping[str, bytes]:
    """The files of a source, fetched once."""
    folder = cache_folder() / "fetched" / f"{source.repository.replace('/', '-')}-{source.version}"

    def write(target: Path) -> None:
        for number, content in enumerate(fetch(source).values()):
            (target / f"{number}.gz").write_bytes(gzip.compress(content))

    _once(folder, write)
    return {file: gzip.decompress((folder / f"{number}.gz").read_bytes()) for number, file in enumerate(source.files)}


def _once(target: Path, write: Callable[[Path], None]) -> None:
    """Fill a folder in one step, so that one that was interrupted is not taken for whole."""
    if target.is_dir():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="unfinished-") as scratch:
        made = Path(scratch) / target.name
        made.mkdir()
        write(made)
        made.rename(target)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    try:
        print("\n".join(locations(ensure(sys.argv[1:] or KUBERNETES))))
    except SchemaError as error:
        sys.exit(f"kube_schemas: {error}")
