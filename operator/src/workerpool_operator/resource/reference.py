"""The reference page's tables, made from the model so that they cannot drift from it.

``python -m workerpool_operator.resource.reference docs/workerpool.md`` writes them into the page.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from workerpool_operator.resource.model import WorkerPool

BEGIN: Final = "<!-- BEGIN generated: python -m workerpool_operator.resource.reference docs/workerpool.md -->"
END: Final = "<!-- END generated -->"
_SECTIONS: Final = (
    ("apiVersion", "metadata"),
    ("kind", "metadata"),
    ("metadata", "metadata"),
    ("spec.broker", "broker"),
    ("spec.scaling", "scaling"),
    ("spec.deploymentRef", "deploymentRef"),
    ("spec.worker", "worker"),
    ("spec", "spec"),
)
"""Prefix of the fields of a section, and its title; the longest prefix wins."""
_ORDER: Final = ("metadata", "spec", "broker", "scaling", "worker", "deploymentRef")
_WORDS: Final = {"integer": "whole number", "string": "text", "boolean": "true or false", "object": "mapping"}
_Schema = Mapping[str, Any]


def reference() -> str:
    """The tables, a section each, in Markdown."""
    schema = WorkerPool.model_json_schema(by_alias=True)
    rows: dict[str, list[str]] = {title: [] for title in _ORDER}
    for path, field, required in _fields(schema, schema, ""):
        for prefix, title in _SECTIONS:
            if path == prefix or path.startswith((f"{prefix}.", f"{prefix}[")):
                rows[title].append(_row(path, field, schema, required=required))
                break
    parts = []
    for title in _ORDER:
        head = f"### `{title}`\n\n| Field | Type | Default | Bounds | Meaning |\n|---|---|---|---|---|\n"
        parts.append(head + "\n".join(rows[title]))
    return "\n\n".join(parts) + "\n"


def with_reference(page: str) -> str:
    """A page with the tables between its markers renewed.

    Raises:
        ValueError: the page has no markers.
    """
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError("the page lacks the markers of the generated part")
    return f"{before}{BEGIN}\n\n{reference()}\n{END}{after}"


def resolved(field: _Schema, root: _Schema) -> dict[str, Any]:
    """A field's schema without references and without the branch that stands for "not set"."""
    plain = dict(field)
    options = [option for option in field.get("anyOf", ()) if option.get("type") != "null"]
    if len(options) == 1:
        plain = {**resolved(options[0], root), **{key: field[key] for key in field if key != "anyOf"}}
    if "$ref" in plain:
        name = plain.pop("$ref").removeprefix("#/$defs/")
        plain = {**root["$defs"][name], **plain}
    return plain


def _fields(schema: _Schema, root: _Schema, prefix: str) -> Iterator[tuple[str, dict[str, Any], bool]]:
    for name, raw in schema.get("properties", {}).items():
        path = f"{prefix}.{name}" if prefix else name
        field = resolved(raw, root)
        yield path, field, name in schema.get("required", ())
        items = resolved(field.get("items", {}), root)
        yield from _fields(field, root, path)
        yield from _fields(items, root, f"{path}[]")


def _row(path: str, field: _Schema, root: _Schema, *, required: bool) -> str:
    default = "**required**" if required else _default(field)
    limits = "; ".join(bounds(field, root))
    description = " ".join(str(field.get("description", "")).split())
    cells = (f"`{path}`", _type(field, root), default, limits, description)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(field: _Schema) -> str:
    value = field.get("default")
    if value is None or value in ({}, [], ()):
        return ""
    return f"`{json.dumps(value)}`" if not isinstance(value, Mapping) else ""


def _type(field: _Schema, root: _Schema) -> str:
    if "enum" in field:
        return ", ".join(f"`{choice}`" for choice in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if "x-kubernetes-int-or-string" in field:
        return "quantity"
    values = field.get("additionalProperties")
    if field.get("type") == "array":
        return f"list of {_type(resolved(field.get('items', {}), root), root)}"
    if isinstance(values, Mapping) and "properties" not in field:
        kind = _type(resolved(values, root), root)
        return f"mapping to {kind}" if kind else "mapping"
    return _WORDS.get(str(field.get("type")), "")


def bounds(field: _Schema, root: _Schema) -> Iterator[str]:
    """The bounds of a field in words, such as ``0 to 1000``."""
    least, most = field.get("minimum"), field.get("maximum")
    if least is not None or most is not None:
        yield f"{least} to {most}" if most is not None else f"at least {least}"
    for low, high, noun in (
        ("minLength", "maxLength", "characters"),
        ("minItems", "maxItems", "entries"),
        ("minProperties", "maxProperties", "entries"),
    ):
        if high in field and "x-kubernetes-int-or-string" not in field:
            least, most = field.get(low, 0), field[high]
            yield f"{least} to {most} {noun}" if least != most else f"{most} {noun}"
    if field.get("type") == "array":
        yield from (f"each {bound}" for bound in bounds(resolved(field.get("items", {}), root), root))


def main(path: str) -> None:
    """Renew the generated part of a page in place."""
    page = Path(path)
    page.write_text(with_reference(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
