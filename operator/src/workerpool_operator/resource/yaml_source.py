"""YAML text to documents, and its errors to sentences.

Built on the parser's events instead of its nodes: nodes are made by recursion in C, which a file of nothing but ``[``
turns into a crash of the process.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import yaml

from workerpool_operator.resource.yaml_builder import Builder, Node, YamlError

MAX_BYTES: Final = 16 * 2**20
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def documents(text: str) -> Iterator[Node]:
    """The documents of a YAML text, in order; the data of empty ones is None.

    Raises:
        YamlError: it is not YAML, or not YAML that a resource can be written in; says where, and what was expected.
    """
    if len(text) > MAX_BYTES:
        raise YamlError(f"is larger than {MAX_BYTES // 2**20} MiB", line=1, column=1)
    try:
        loader = _LOADER(text)
        while loader.check_event():
            if isinstance(loader.get_event(), yaml.DocumentStartEvent):
                yield Builder(loader.get_event).build(loader.get_event())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line, mark.column) if mark else (0, 0)
        raise YamlError(_sentence(text, error, line, column), line=line + 1, column=column + 1) from error
    except (yaml.YAMLError, UnicodeError) as error:
        line, column = _place(text, error)
        message = "not YAML: it holds a character that no text has (is it a text file in UTF-8?)"
        raise YamlError(message, line=line, column=column) from error


def _place(text: str, error: Exception) -> tuple[int, int]:
    """Line and column, from 1, of the character that the reader refused."""
    position = getattr(error, "position", getattr(error, "start", 0))
    before = text[:position]
    return before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1


def _sentence(text: str, error: yaml.MarkedYAMLError, line: int, column: int) -> str:
    """What is wrong and what to do; the parser's own words where they are plain enough."""
    lines = text.splitlines()
    here = lines[line][column : column + 1] if line < len(lines) else ""
    problem = (error.problem or "it cannot be read").removeprefix("did not find expected ")
    if "cannot start any token" in problem:
        if here == "\t":
            return "not YAML: a tab cannot indent; use spaces"
        return f"not YAML: text cannot begin with {here}; put it in quotes"
    if "mapping values are not allowed" in problem:
        return 'not YAML: a ":" where no field may begin; check the indentation, or put text that holds ": " in quotes'
    if "alias" in (error.context or ""):
        return "not YAML: text that begins with * or & has to be in quotes"
    context = (error.context or "").removeprefix("while ")
    began = f" ({context} that begins in line {error.context_mark.line + 1})" if context and error.context_mark else ""
    if problem != error.problem:
        return f"not YAML: expected {_EXPECTED.get(problem, problem)}{began}"
    return f"not YAML: {problem}{began}"


_EXPECTED: Final = {
    "key": "another field, or less indentation",
    "'-' indicator": 'another entry that begins with "-", or less indentation',
    "node content": "a value",
}
