"""Lists of entries in YAML files, with errors that say which entry and which field."""

# ruff: noqa: PLC0415 - without such a file no YAML is read

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Entry = Mapping[Any, Any]


def entries_of(path: Path, kind: str, shape: str) -> Iterator[tuple[str, Entry]]:
    """The entries of a file that holds a list of mappings, each with words that say where it is.

    Args:
        path: The file.
        kind: What the entries are, in the plural.
        shape: How one looks.

    Raises:
        ValueError: the file cannot be read, or holds something else.
    """
    yield from numbered(_content(path), str(path), kind, shape)


def numbered(content: object, place: str, kind: str, shape: str) -> Iterator[tuple[str, Entry]]:
    """The entries of a list that was read, as `entries_of`; `place` says where it came from.

    Raises:
        ValueError: it is no list of mappings.
    """
    if not isinstance(content, list):
        raise ValueError(f"{place}: must be a list of {kind}, each one {shape}")  # noqa: TRY004 - one kind of error
    for number, entry in enumerate(content, start=1):
        name = entry.get("name") if isinstance(entry, dict) else None
        where = f"{place}: entry {number}" + (f" ({name})" if isinstance(name, str) else "")
        if not isinstance(entry, dict):
            raise ValueError(f"{where}: must be a mapping {shape}")  # noqa: TRY004 - one kind of error
        yield where, entry


def only_known(entry: Entry, known: tuple[str, ...]) -> None:
    """Refuse what is not known: a mistyped field would be left out in silence.

    Raises:
        ValueError: there is one.
    """
    for name in entry:
        if name not in known:
            raise ValueError(f"{name}: there is no such field; known are {', '.join(known)}")


def word(entry: Entry, name: str, longest: int) -> str:
    """A field that is text on one line.

    Raises:
        ValueError: it is missing, or something else.
    """
    value = entry.get(name)
    if value is None:
        raise ValueError(f"{name}: is missing")
    if not isinstance(value, str) or not value.strip() or len(value) > longest or not value.isprintable():
        raise ValueError(f"{name}: must be text of up to {longest} characters (got {value!r})")
    return value.strip()


def _content(path: Path) -> object:
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not text in UTF-8") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}:" if mark else ""
        problem = " ".join((getattr(error, "problem", None) or str(error)).split())
        hint = "; a value that begins with * needs quotes" if "alias" in problem else ""
        raise ValueError(f"{path}:{line} is not YAML: {problem}{hint}") from None
