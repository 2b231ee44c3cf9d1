"""The model's JSON schema as the API server's structural schema, which knows less.

It has no references, no null, no constants, no bounds on names of fields, and drops unknown fields by itself. A
keyword that this module does not know is an error, not a bound that is lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from workerpool_operator.resource.base import INT32_MAX, MEANING_OF_PATTERN, Model
from workerpool_operator.resource.reference import bounds, resolved

Schema = dict[str, Any]
_Root = Mapping[str, Any]

PRESERVE: Final = "x-kubernetes-preserve-unknown-fields"
_EXACT_MAX: Final = 2**53
"""The API server keeps bounds as doubles: it reads the largest int64 as one more, and then refuses every value."""
_INT_OR_STRING: Final = "x-kubernetes-int-or-string"
_COPIED: Final = (
    "type",
    "format",
    "enum",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    _INT_OR_STRING,
    PRESERVE,
    "x-kubernetes-map-type",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
)
_TRANSLATED: Final = frozenset(
    {
        "description",
        "default",
        "const",
        "required",
        "properties",
        "items",
        "additionalProperties",
        "patternProperties",
        "propertyNames",
        "anyOf",
    }
)
_DROPPED: Final = frozenset({"title", "$defs"})


def structural(model: type[Model]) -> Schema:
    """The structural schema of a part of the resource.

    Raises:
        ValueError: the model says something that this translation does not know.
    """
    root = model.model_json_schema(by_alias=True)
    return _node(root, root)


def _node(raw: _Root, root: _Root) -> Schema:
    field = resolved(raw, root)
    unknown = field.keys() - set(_COPIED) - _TRANSLATED - _DROPPED
    if unknown:
        raise ValueError(f"the CRD has no translation for {', '.join(sorted(unknown))}")
    node: Schema = {}
    if description := _description(field, root):
        node["description"] = description
    node.update((key, field[key]) for key in _COPIED if key in field)
    if "const" in field:
        node["enum"] = [field["const"]]
    if field.get("type") == "integer":
        node["format"] = "int32" if field.get("maximum", INT32_MAX + 1) <= INT32_MAX else "int64"
        if node.get("maximum", 0) > _EXACT_MAX:
            del node["maximum"]
    if _INT_OR_STRING in field:
        node["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    elif "anyOf" in field:
        raise ValueError("the CRD has no translation for a choice of types")
    if field.get("type") == "array":
        node.setdefault("x-kubernetes-list-type", "atomic")
        node["items"] = _node(field["items"], root)
    elif field.get("type") == "object":
        node.update(_object(field, root))
    return {**node, **_default(field, node)}


def _object(field: _Root, root: _Root) -> Schema:
    if "properties" in field:
        # Only what is said to be open keeps unknown fields; of all else the API server drops or refuses them.
        part: Schema = {"properties": {name: _node(entry, root) for name, entry in field["properties"].items()}}
        return {"required": list(field["required"]), **part} if field.get("required") else part
    if PRESERVE in field:
        return {}
    values = [*field.get("patternProperties", {}).values(), field.get("additionalProperties")]
    entries = next((entry for entry in values if isinstance(entry, Mapping)), None)
    if entries is None:
        raise ValueError("a mapping says nothing of its values")
    return {"additionalProperties": _node(entries, root), **_key_rules(field)}


def _key_rules(field: _Root) -> Schema:
    """The form of a map's keys, which a structural schema can only say in CEL."""
    longest = field.get("propertyNames", {}).get("maxLength")
    rules = [
        {
            "rule": f"self.all(k, k.size() <= {longest} && k.matches(r'{pattern}'))",
            "message": f"a key {MEANING_OF_PATTERN[pattern]}",
        }
        for pattern in field.get("patternProperties", {})
    ]
    return {"x-kubernetes-validations": rules} if rules else {}


def _default(field: _Root, node: Schema) -> Schema:
    """What the API server fills in. A part of its own is empty: the defaults of its fields fill it."""
    if "properties" in node:
        return {"default": {}} if "default" in field and field["default"] is not None and _fills(node) else {}
    default = field.get("default")
    return {} if default in (None, [], {}) else {"default": default}


def _fills(node: Schema) -> bool:
    """Whether an empty value of this schema would have anything filled in."""
    return any("default" in entry for entry in node["properties"].values())


def _description(field: _Root, root: _Root) -> str:
    """The description with what `kubectl explain` would leave out."""
    text = " ".join(str(field.get("description", "")).replace("``", "").split())
    notes = "; ".join(_notes(field, root))
    return f"{text} [{notes}]" if text and notes else text


def _notes(field: _Root, root: _Root) -> Iterator[str]:
    yield from bounds(field, root)
    default = field.get("default")
    if isinstance(default, bool):
        yield f"default {str(default).lower()}"
    elif isinstance(default, (int, list)) and default != []:
        yield f"default {default}"
    elif isinstance(default, str):
        yield f"default {default or 'empty'}"
