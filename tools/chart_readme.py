"""The chart's tables of values, made from values.yaml's comments: ``python tools/chart_readme.py charts/workerpool``.

A comment that begins with ``# --`` right above a key is its meaning; what is below such a key belongs to its default. A
plain comment above a section is its introduction. A value without a meaning is an error, so that none is forgotten.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

BEGIN: Final = "<!-- BEGIN generated: python tools/chart_readme.py charts/workerpool -->"
END: Final = "<!-- END generated -->"
_MEANING: Final = "# --"
_LONGEST: Final = 60
"""Characters of a default that fit into a table; a longer one is told to be looked up."""


@dataclass(frozen=True, kw_only=True)
class Value:
    """A value: its path with dots, its default as YAML has it, and what it means."""

    path: str
    default: Any
    meaning: str

    @property
    def row(self) -> str:
        """Its line in the table."""
        text = json.dumps(self.default, ensure_ascii=False)
        shown = f"`{text}`" if len(text) <= _LONGEST else "see values.yaml"
        meaning = self.meaning.replace("|", "\\|")
        return f"| `{self.path}` | {shown} | {meaning} |"


class UndocumentedError(Exception):
    """A value has no comment. The text names it."""


def comment_above(lines: Sequence[str], number: int) -> str:
    """The comment lines that touch the line of this number (from 0) from above, without indentation."""
    above = []
    while number > 0 and lines[number - 1].lstrip().startswith("#"):
        number -= 1
        above.append(lines[number].strip())
    return "\n".join(reversed(above))


def plain(comment: str) -> str:
    """A comment as one line of text."""
    stripped = (line.removeprefix(_MEANING).removeprefix("#").strip() for line in comment.splitlines())
    return " ".join(stripped)


def values_of(text: str) -> tuple[list[Value], dict[str, str]]:
    """The values of a values.yaml in their order, and the introductions of its sections.

    Raises:
        UndocumentedError: A value has no meaning.
    """
    lines = text.splitlines()
    introductions: dict[str, str] = {}

    def below(node: yaml.MappingNode, prefix: str) -> Iterator[Value]:
        for key, value in node.value:
            path = f"{prefix}.{key.value}" if prefix else str(key.value)
            comment = comment_above(lines, key.start_mark.line)
            if comment.startswith(_MEANING):
                default = yaml.safe_load(yaml.serialize(value))
                yield Value(path=path, default=default, meaning=plain(comment))
            elif isinstance(value, yaml.MappingNode) and value.value:
                if comment:
                    introductions[path] = plain(comment)
                yield from below(value, path)
            else:
                message = f"values.yaml:{key.start_mark.line + 1}: {path} has no comment that begins with `{_MEANING}`"
                raise UndocumentedError(message)

    root = yaml.compose(text)
    assert isinstance(root, yaml.MappingNode)  # noqa: S101 - an empty values.yaml is no chart of ours
    return list(below(root, "")), introductions


def tables(text: str) -> str:
    """The tables, a section for each group of values, in Markdown."""
    values, introductions = values_of(text)
    sections: dict[str, list[Value]] = {"": []}
    for value in values:
        section, dot, _ = value.path.partition(".")
        sections.setdefault(section if dot else "", []).append(value)
    parts = []
    for section, members in sections.items():
        introduction = f"{introductions[section]}\n\n" if section in introductions else ""
        rows = "\n".join(value.row for value in members)
        title = f"`{section}`" if section else "At the top"
        parts.append(f"### {title}\n\n{introduction}| Key | Default | Meaning |\n|---|---|---|\n{rows}\n")
    return "\n".join(parts)


def with_tables(readme: str, text: str) -> str:
    """A README with the tables between its markers renewed.

    Raises:
        ValueError: It has no markers.
    """
    before, _, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError("README.md lacks the markers of the generated part")
    return f"{before}{BEGIN}\n\n{tables(text)}\n{END}{after}"


def main(chart: Path) -> int:
    """Renew the README of a chart in place."""
    readme = chart / "README.md"
    try:
        made = with_tables(readme.read_text(encoding="utf-8"), (chart / "values.yaml").read_text(encoding="utf-8"))
    except (UndocumentedError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    readme.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
