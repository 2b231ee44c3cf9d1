"""From Kubernetes' own schemas to JSON schemas that refuse what they do not name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

KINDS = frozenset(
    (
        *("ClusterRole", "ClusterRoleBinding", "ConfigMap", "CronJob", "CustomResourceDefinition", "Deployment", "Job"),
        *(
            "Lease",
            "Namespace",
            "NetworkPolicy",
            "PersistentVolumeClaim",
            "Pod",
            "PodDisruptionBudget",
            "Role",
            "RoleBinding",
        ),
        *("Secret", "Service", "ServiceAccount", "StatefulSet"),
    )
)

_INT_OR_STRING: Schema = {"type": ["integer", "string"]}
_SPECIAL = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": _INT_OR_STRING,
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": ["number", "string"]},
}


def strict_custom(node: Any) -> Any:
    """A schema of a CRD as plain JSON schema that refuses what it does not name."""
    if isinstance(node, list):
        return [strict_custom(part) for part in node]
    if not isinstance(node, dict):
        return node
    if node.get("x-kubernetes-int-or-string") is True:
        return dict(_INT_OR_STRING)
    result: Schema = {}
    for key, value in node.items():
        if key == "properties":  # here the keys are names of fields, not words of the schema language
            result[key] = {name: strict_custom(part) for name, part in value.items()}
        elif not key.startswith("x-kubernetes-") and key not in {"nullable", "description", "default"}:
            result[key] = strict_custom(value)
    if node.get("nullable") and "type" in node:
        result["type"] = [node["type"], "null"]
    # without a type it is a condition inside anyOf and the like, which must not close the object around it
    closed = "properties" in node and node.get("type") == "object" and "additionalProperties" not in node
    if closed and not node.get("x-kubernetes-preserve-unknown-fields"):
        result["additionalProperties"] = False
    return result


def built_in(document: Schema) -> Iterator[tuple[str, Schema]]:
    """File name and schema of each of our kinds in an OpenAPI document of Kubernetes, each with all it refers to."""
    definitions: Schema = document["definitions"]
    for name, definition in definitions.items():
        served = definition.get("x-kubernetes-group-version-kind", ())
        if len(served) != 1 or served[0]["kind"] not in KINDS:
            continue
        group, version, kind = served[0]["group"], served[0]["version"], served[0]["kind"]
        parts = {one: _strict(one, definitions[one]) for one in _reachable(name, definitions)}
        schema = parts.pop(name)
        schema["properties"] |= {
            "apiVersion": {"enum": [f"{group}/{version}" if group else version]},
            "kind": {"enum": [kind]},
        }
        schema["required"] = sorted({*schema.get("required", ()), "apiVersion", "kind", "metadata"})
        suffix = f"{group.partition('.')[0]}-{version}" if group else version
        yield f"{kind.lower()}-{suffix}.json", {**schema, "definitions": parts}


def _reachable(name: str, definitions: Schema) -> set[str]:
    found, todo = set[str](), [name]
    while todo:
        one = todo.pop()
        if one not in found:
            found.add(one)
            todo.extend(_references(definitions[one]))
    return found


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"].rpartition("/")[2]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def _strict(name: str, definition: Schema) -> Schema:
    """One definition without Kubernetes' own words, closed where it names its fields."""
    if name in _SPECIAL:
        return dict(_SPECIAL[name])
    result = {key: value for key, value in definition.items() if not key.startswith("x-kubernetes-")}
    if "properties" in result:
        result["properties"] = {
            # beside a reference nothing else counts, and extensions are not JSON schema
            field: {"$ref": value["$ref"]} if "$ref" in value else _bare(value)
            for field, value in result["properties"].items()
        }
        result.setdefault("additionalProperties", False)
    result.pop("description", None)
    return result


def _bare(node: Any) -> Any:
    return {key: value for key, value in node.items() if not key.startswith("x-kubernetes-") and key != "description"}
