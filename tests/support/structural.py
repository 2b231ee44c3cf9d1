"""What an API server makes of a value by a structural schema: types and bounds only, no CEL.

Only for properties over thousands of values; what a server really says is tested on a real one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]
TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str, "integer": int, "boolean": bool, "object": dict, "array": list,
}  # fmt: skip
OPEN = "x-kubernetes-preserve-unknown-fields"
# Python's $ also matches before a last line break; the server's and pydantic's do not.
END = re.compile(r"(?<!\\)\$$")


def leaves(schema: Schema, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Schema]]:
    """The schemas of all values that are not mappings with fields, ``[]`` in the path for the entries of a list."""
    for name, field in schema.get("properties", {}).items():
        yield from leaves(field, (*path, name))
    if "items" in schema:
        yield from leaves(schema["items"], (*path, "[]"))
    if "properties" not in schema:
        yield path, schema


def refusals(schema: Schema, value: Any, path: str = "") -> Iterator[str]:
    """What the schema refuses; a null is as good as nothing where the schema has a place for it."""
    if "x-kubernetes-int-or-string" in schema:
        is_type = isinstance(value, (int, str)) and not isinstance(value, bool)
    else:
        wanted = schema["type"]
        is_type = isinstance(value, TYPES[wanted]) and (wanted == "boolean" or not isinstance(value, bool))
    if not is_type:
        yield f"{path}: type"
        return
    yield from (f"{path}: {what}" for what in _bounds(schema, value))
    if isinstance(value, dict):
        yield from _fields(schema, value, path)
    if isinstance(value, list):
        yield from (line for n, entry in enumerate(value) for line in refusals(schema["items"], entry, f"{path}[{n}]"))
        keys = schema.get("x-kubernetes-list-map-keys", ())
        names = [tuple(str(entry.get(key)) for key in keys) for entry in value if isinstance(entry, dict)]
        if keys and len(set(names)) < len(names):
            yield f"{path}: duplicate"


def _bounds(schema: Schema, value: Any) -> Iterator[str]:
    most = schema.get("maximum", 2**63 - 1)
    if isinstance(value, int) and not schema.get("minimum", -(2**63)) <= value <= most:
        yield "range"
    for kind, low, high in (
        (str, "minLength", "maxLength"), (list, "minItems", "maxItems"), (dict, "minProperties", "maxProperties"),
    ):  # fmt: skip
        if isinstance(value, kind) and not schema.get(low, 0) <= len(value) <= schema.get(high, len(value)):
            yield "size"
    if isinstance(value, str) and "pattern" in schema and not re.search(END.sub(r"\\Z", schema["pattern"]), value):
        yield "pattern"
    if "enum" in schema and value not in schema["enum"]:
        yield "enum"


def _fields(schema: Schema, value: dict[str, Any], path: str) -> Iterator[str]:
    properties = schema.get("properties", {})
    yield from (f"{path}.{name}: required" for name in schema.get("required", ()) if value.get(name) is None)
    for name, entry in value.items():
        field = properties.get(name, schema.get("additionalProperties"))
        if field is None and OPEN not in schema:
            yield f"{path}.{name}: unknown"
        elif field is not None and entry is not None:
            yield from refusals(field, entry, f"{path}.{name}")
