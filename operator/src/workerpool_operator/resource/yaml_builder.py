"""YAML events to plain data, with the line of each field.

Plain scalars are read as the Kubernetes tools read them: ``yes`` is true, ``0644`` is octal; but dates and ``12:30``
stay text, where PyYAML would make a date and 750 of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

import yaml

MAX_DEPTH: Final = 64
MAX_NODES: Final = 50_000
"""Per document, with what aliases repeat: a small file may not unfold into a huge one."""
_MAX_DIGITS: Final = 25
_TAG: Final = "tag:yaml.org,2002:"
_BOOLEANS: Final = {
    **dict.fromkeys(("yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
}
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_INTEGER: Final = re.compile(r"[-+]?(?:0x([0-9a-fA-F]+)|0b([01]+)|0o?([0-7]+)|(0|[1-9][0-9_]*))")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]{1,2})?")


class YamlError(Exception):
    """YAML that a resource cannot be written in. ``line`` and ``column`` count from 1."""

    def __init__(self, message: str, *, line: int, column: int) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


@dataclass(slots=True, eq=False)
class Node:
    """A value with the line it stands on (from 1), and for mappings and lists those of what is in them."""

    data: Any
    line: int
    size: int = 1
    children: dict[str | int, Node] = field(default_factory=dict)
    key_lines: dict[str, int] = field(default_factory=dict)

    def line_of(self, path: tuple[str | int, ...]) -> int:
        """The line of the field at a path, or of the nearest thing around it."""
        node, line = self, self.line
        for part in path:
            child = node.children.get(part)
            if child is None:
                break
            line = node.key_lines.get(part, child.line) if isinstance(part, str) else child.line
            node = child
        return line


class Builder:
    """Builds one document from the events between its start and its end."""

    def __init__(self, next_event: Callable[[], Any]) -> None:
        self._next = next_event
        self._anchors: dict[str, Node] = {}
        self._nodes = 0

    def build(self, event: Any, depth: int = 0) -> Node:
        """Build the value that begins with an event.

        Raises:
            YamlError: it is nested too deeply, unfolds to too much, or uses YAML that JSON cannot say.
        """
        if depth > MAX_DEPTH:
            _refuse(event, f"is nested more than {MAX_DEPTH} levels deep")
        if isinstance(event, yaml.AliasEvent):
            node = self._anchors.get(str(event.anchor))
            if node is None:
                _refuse(event, f"*{event.anchor} refers to no anchor before it; put text that begins with * in quotes")
            self._count(node.size, event)
            return node
        before = self._nodes
        self._count(1, event)
        node = Node(data=None, line=_line(event))
        if isinstance(event, yaml.MappingStartEvent):
            self._mapping(event, node, depth)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._sequence(event, node, depth)
        else:
            node.data = _scalar(event)
        node.size = self._nodes - before
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _count(self, size: int, event: Any) -> None:
        self._nodes += size
        if self._nodes > MAX_NODES:
            _refuse(event, f"the document unfolds to more than {MAX_NODES} values")

    def _sequence(self, event: Any, node: Node, depth: int) -> None:
        _check_tag(event, "seq")
        node.data = []
        while not isinstance(entry := self._next(), yaml.SequenceEndEvent):
            child = self.build(entry, depth + 1)
            node.children[len(node.data)] = child
            node.data.append(child.data)

    def _mapping(self, event: Any, node: Node, depth: int) -> None:
        _check_tag(event, "map")
        node.data = {}
        merged: list[Node] = []
        while not isinstance(key := self._next(), yaml.MappingEndEvent):
            if not isinstance(key, yaml.ScalarEvent):
                _refuse(key, "the name of a field must be text")
            name, line = key.value, _line(key)
            child = self.build(self._next(), depth + 1)
            if name == "<<" and key.implicit[0]:
                merged.extend(child.children.values() if isinstance(child.data, list) else [child])
                if any(not isinstance(source.data, dict) for source in merged):
                    _refuse(key, "<< takes a mapping, or a list of them")
                continue
            if name in node.key_lines:
                shown = name if name.isprintable() and len(name) <= MAX_DEPTH and "://" not in name else "a field"
                _refuse(key, f"{shown} is given twice, first in line {node.key_lines[name]}; keep one of them")
            node.data[name], node.children[name], node.key_lines[name] = child.data, child, line
        for source in merged:
            for name, value in source.data.items():
                if name not in node.data:
                    node.data[name], node.children[name] = value, source.children[name]


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _refuse(event: Any, message: str) -> NoReturn:
    raise YamlError(message, line=_line(event), column=event.start_mark.column + 1)


def _check_tag(event: Any, *allowed: str) -> str | None:
    """The short name of an explicit tag, None where there is none."""
    tag = event.tag
    if tag is None or tag == "!":
        return None if tag is None else "str"
    name = str(tag).removeprefix(_TAG)
    if name not in allowed:
        _refuse(event, "tags other than !!str, !!int, !!float, !!bool, !!null, !!map and !!seq are not allowed")
    return name


def _scalar(event: Any) -> Any:
    tag = _check_tag(event, "str", "int", "float", "bool", "null")
    if tag == "str" or (tag is None and not event.implicit[0]):
        return event.value
    value = _plain(event.value)
    kinds = {"int": int, "float": (int, float), "bool": bool, "null": type(None)}
    if tag is not None and not isinstance(value, kinds[tag]):  # type: ignore[arg-type]
        _refuse(event, f"the value is not what its tag !!{tag} says")
    return value


def _plain(text: str) -> Any:
    """What a scalar without quotes means. Numbers that JSON cannot hold stay text, which no number field takes."""
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if len(text) > _MAX_DIGITS or not text.isascii():
        return text
    if match := _INTEGER.fullmatch(text):
        sign = -1 if text[0] == "-" else 1
        for digits, base in zip(match.groups(), (16, 2, 8, 10), strict=True):
            if digits is not None:
                return sign * int(digits.replace("_", ""), base)
    if _FLOAT.fullmatch(text):
        return float(text.replace("_", ""))
    return text
