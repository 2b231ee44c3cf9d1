"""What a rule is, and how it reads a document that may be wrong in any other way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from workerpool_operator.resource.errors import Problem, render_path
from workerpool_operator.resource.world import World

Path = tuple[str | int, ...]
Document = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One rule: ``find`` yields what is wrong with a document.

    ``at`` is the path whose schema carries ``cel`` (``self`` is the value there; ``[]`` are the entries of a list);
    an empty ``cel`` means that the schema says it in another way, or that the rule is not for Kubernetes.
    ``message`` is what the API server says, of ``field`` under that path (``.minReplicas``), of the whole without it.
    """

    name: str
    at: str
    find: Callable[[Document], Iterable[Problem]]
    cel: str = ""
    message: str = ""
    field: str = ""
    worlds: frozenset[World] = frozenset(World)


def value_at(document: object, *path: str) -> Any:
    """The value at a path of the document, None where there is none."""
    for part in path:
        document = document.get(part) if isinstance(document, Mapping) else None
    return document


def number_at(document: object, *path: str) -> int | None:
    """The whole number at a path, None where there is none."""
    value = value_at(document, *path)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def entries_at(document: object, *path: str) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """The mappings in the list at a path, each with its own path."""
    value = value_at(document, *path)
    for index, entry in enumerate(value if isinstance(value, list) else ()):
        if isinstance(entry, Mapping):
            yield (*path, index), entry


def unique(key: str, *path: str) -> Callable[[Document], Iterator[Problem]]:
    """No two entries of the list at the path have the same value under the key."""

    def find(document: Document) -> Iterator[Problem]:
        seen: dict[str, Path] = {}
        for place, entry in entries_at(document, *path):
            value = entry.get(key)
            if not isinstance(value, str):
                continue
            if value in seen:
                # The value is not repeated: a queue "named" by an address would put its password in a log.
                message = f"is the same as {render_path((*seen[value], key))}; each must be unique"
                yield Problem(path=(*place, key), message=message)
            seen.setdefault(value, place)

    return find
