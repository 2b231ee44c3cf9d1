"""What is wrong with a resource, as lines a person can act on.

    ResourceError           the only exception that parsing and loading raise
      .problems             every problem found, each a Problem: field path, message, file and line where known

No message holds a value that may be a secret: see ``messages.shown``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_MAX_KEY = 80
_PLAIN_KEY = re.compile(rf"[A-Za-z_][A-Za-z0-9_]{{0,{_MAX_KEY - 1}}}")


def render_path(path: Sequence[str | int]) -> str:
    """Write a path as people write it: ``spec.queues[1].name``, ``metadata.labels["app.kubernetes.io/name"]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_KEY.fullmatch(part):
            text += f".{part}" if text else part
        else:
            escaped = part[:_MAX_KEY].encode("unicode_escape").decode("ascii").replace('"', '\\"')
            text += f'["{escaped}"]'
    return text


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that is wrong.

    ``path`` names the field, empty for the document as a whole. ``source`` is the file, ``line`` and ``column`` count
    from 1, ``document`` says which of several documents it is; each is None where it is not known.
    """

    path: tuple[str | int, ...]
    message: str
    source: str | None = None
    line: int | None = None
    column: int | None = None
    document: str | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.source, self.line, self.column) if part is not None)
        suffix = f" ({self.document})" if self.document else ""
        return ": ".join(part for part in (place, render_path(self.path), self.message) if part) + suffix


class ResourceError(ValueError):
    """A resource, or the file it came from, cannot be used. ``str()`` gives one line a problem."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)
