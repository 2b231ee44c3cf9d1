"""YAML files to WorkerPools, or to everything that is wrong with them, with file and line."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from workerpool_operator.resource.errors import Problem, ResourceError
from workerpool_operator.resource.model import WorkerPool
from workerpool_operator.resource.parse import check_kind, parse_pool
from workerpool_operator.resource.world import World
from workerpool_operator.resource.yaml_builder import Node, YamlError
from workerpool_operator.resource.yaml_source import MAX_BYTES, documents

_STDIN: Final = "-"
_LIST_KINDS: Final = ("List", "WorkerPoolList")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """One resource of a file, whatever its worth."""

    node: Node
    number: int
    """Which document of the file it stands in, from 1."""


def load_pools(text: str, source: str = "pools.yaml", *, world: World = World.KUBERNETES) -> list[WorkerPool]:
    """Read every WorkerPool of a YAML text of one or more documents, in their order.

    ``source`` is what messages call the text.

    Raises:
        ResourceError: at least one document is not a valid WorkerPool, two have one name, or there is none. Holds every
            problem of every document.
    """
    return _load([(text, source)], world)


def load_files(paths: Sequence[str | Path], *, world: World = World.KUBERNETES) -> list[WorkerPool]:
    """Read every WorkerPool of some files; ``-`` is the standard input. See :func:`load_pools`.

    Raises:
        ResourceError: as with :func:`load_pools`, or a file cannot be read.
    """
    problems: list[Problem] = []
    texts = []
    for path in paths:
        try:
            texts.append((read_source(path), "stdin" if str(path) == _STDIN else str(path)))
        except ResourceError as error:
            problems.extend(error.problems)
    return _load(texts, world, problems)


def read_source(path: str | Path) -> str:
    """Read a file, or the standard input for ``-``.

    Raises:
        ResourceError: it is missing, a folder, not readable, not UTF-8, or far too large; one line each.
    """
    is_stdin = str(path) == _STDIN
    try:
        if is_stdin:
            data = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(path).open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            message = f"is larger than {MAX_BYTES // 2**20} MiB"
        else:
            return data.decode("utf-8-sig")
    except FileNotFoundError:
        message = "there is no such file"
    except IsADirectoryError:
        message = "is a folder; name a file in it"
    except PermissionError:
        message = "may not be read; check its permissions"
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        message = f"is not text in UTF-8 (line {line}); save it as UTF-8"
    except (OSError, ValueError) as error:
        message = f"cannot be read: {getattr(error, 'strerror', None) or 'not a file name'}"
    raise ResourceError([Problem(path=(), message=message, source="stdin" if is_stdin else str(path))])


def _load(texts: Sequence[tuple[str, str]], world: World, problems: list[Problem] | None = None) -> list[WorkerPool]:
    problems = [] if problems is None else problems
    pools: list[WorkerPool] = []
    places: dict[tuple[str, str], str] = {}
    for text, source in texts:
        found, broken = _find(text, source)
        problems.extend(broken)
        if not found and not broken:
            problems.append(Problem(path=(), message="holds no document; write a WorkerPool into it", source=source))
        several = len(found) > 1
        for item in found:
            try:
                pool = parse_pool(_checked(item.node.data), world=world)
            except ResourceError as error:
                problems.extend(_placed(error, item, source, several=several))
                continue
            finally:
                problems.extend(_repeated(item, source, places, several=several))
            pools.append(pool)
    if problems:
        raise ResourceError(problems)
    return pools


def _checked(data: object) -> Mapping[str, Any]:
    check_kind(data)
    return data if isinstance(data, Mapping) else {}


def _find(text: str, source: str) -> tuple[list[_Found], list[Problem]]:
    """The resources of a text up to where it breaks, and how it breaks."""
    found: list[_Found] = []
    try:
        for number, node in enumerate(documents(text), start=1):
            found.extend(_Found(node=entry, number=number) for entry in _unlisted(node))
    except YamlError as error:
        return found, [Problem(path=(), message=str(error), source=source, line=error.line, column=error.column)]
    return found, []


def _unlisted(node: Node) -> Iterator[Node]:
    """What is in a document: nothing, one resource, or the items of a List as kubectl prints it."""
    data = node.data
    if data is None:
        return
    if isinstance(data, dict) and data.get("kind") in _LIST_KINDS and isinstance(data.get("items"), list):
        yield from node.children["items"].children.values()
    else:
        yield node


def _identity(data: object) -> tuple[str, str] | None:
    """Namespace and name of a document that may be wrong in any way; None where it has none."""
    metadata = data.get("metadata") if isinstance(data, dict) else None
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        return None
    namespace = metadata.get("namespace")
    return (namespace if isinstance(namespace, str) else "default"), metadata["name"]


def _label(item: _Found) -> str:
    identity = _identity(item.node.data)
    name = identity[1] if identity else ""
    suffix = f", {name}" if name and len(name) < 64 and name.isprintable() and "://" not in name else ""  # noqa: PLR2004
    return f"document {item.number}{suffix}"


def _placed(error: ResourceError, item: _Found, source: str, *, several: bool) -> list[Problem]:
    """The problems of a resource with their places in the file, in its order."""
    document = _label(item) if several else None
    placed = [
        replace(problem, source=source, line=item.node.line_of(problem.path), document=document)
        for problem in error.problems
    ]
    return sorted(placed, key=lambda problem: problem.line or 0)


def _repeated(item: _Found, source: str, places: dict[tuple[str, str], str], *, several: bool) -> Iterator[Problem]:
    """Say so when a resource has the namespace and name of an earlier one; remember it otherwise."""
    identity = _identity(item.node.data)
    if identity is None:
        return
    path = ("metadata", "name")
    line = item.node.line_of(path)
    first = places.get(identity)
    if first is None:
        places[identity] = f"{source}:{line}"
    else:
        yield Problem(
            path=path,
            message=f"a pool of this namespace and name is defined at {first} already; rename one of them",
            source=source,
            line=line,
            document=_label(item) if several else None,
        )
