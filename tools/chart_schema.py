"""What the chart's schema knows of pools, made from the CRD: ``python tools/chart_schema.py charts/workerpool``.

A pool in ``values.yaml`` is a WorkerPool's spec with three fields of its metadata beside it. With the CRD's bounds in
``values.schema.json``, Helm names a field that is misspelt before anything reaches a cluster.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

Json = dict[str, Any]

METADATA: Final[Json] = {
    "namespace": {"$ref": "#/definitions/namespace"},
    "labels": {"$ref": "#/definitions/stringMap"},
    "annotations": {"$ref": "#/definitions/stringMap"},
}
"""The fields of a pool that go into its metadata."""
FILLED_IN: Final = frozenset({"broker"})
"""What the resource requires and the chart fills in."""
_KEPT: Final = frozenset(
    {"type", "enum", "pattern", "required", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems"}
) | {"minProperties", "maxProperties", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}


def converted(schema: Mapping[str, Any]) -> Json:
    """A structural schema of Kubernetes as a strict JSON schema: what it does not name is refused."""
    made: Json = {key: schema[key] for key in schema if key in _KEPT}
    if schema.get("x-kubernetes-int-or-string"):
        made["type"] = ["integer", "number", "string"]
    if "properties" in schema:
        made["properties"] = {name: converted(field) for name, field in schema["properties"].items()}
    if "items" in schema:
        made["items"] = converted(schema["items"])
    values = schema.get("additionalProperties")
    if isinstance(values, Mapping):
        made["additionalProperties"] = converted(values)
    elif "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        made["additionalProperties"] = False
    if schema.get("nullable") and "type" in made:
        kinds = made["type"] if isinstance(made["type"], list) else [made["type"]]
        made["type"] = [*kinds, "null"]
        if "enum" in made:
            made["enum"] = [*made["enum"], None]
    return made


def pool_schema(crd: Mapping[str, Any]) -> Json:
    """The schema of one entry of ``pools``."""
    (version,) = (one for one in crd["spec"]["versions"] if one["storage"])
    made = converted(version["schema"]["openAPIV3Schema"]["properties"]["spec"])
    made["required"] = [name for name in made["required"] if name not in FILLED_IN]
    made["properties"] = METADATA | made["properties"]
    return made


def with_pools(schema: Json, crd: Mapping[str, Any]) -> Json:
    """The chart's schema with the part about pools renewed."""
    return {**schema, "definitions": {**schema["definitions"], "pool": pool_schema(crd)}}


def main(chart: Path) -> None:
    """Renew the schema of a chart in place."""
    path = chart / "values.schema.json"
    schema = json.loads(path.read_text(encoding="utf-8"))
    crd = yaml.safe_load((chart / "files" / "crd.yaml").read_text(encoding="utf-8"))
    path.write_text(json.dumps(with_pools(schema, crd), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
