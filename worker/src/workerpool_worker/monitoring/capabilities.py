"""What a worker says of itself, as data: parts with facts and what is missing, for a JSON line or for people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one family says.

    Attributes:
        name: Its name.
        says: Facts; those that are None or empty are left out.
        missing: Sentences on what is not there, each with the variable that would bring it.
    """

    name: str
    says: dict[str, object]
    missing: tuple[str, ...] = ()

    def facts(self) -> dict[str, object]:
        """What there is to say."""
        return {name: value for name, value in self.says.items() if value not in (None, "", ())}

    def line(self) -> str:
        """The same for people."""
        return ", ".join(_words(name, value) for name, value in self.facts().items())


@dataclass(frozen=True, kw_only=True)
class Report:
    """All of it."""

    version: str
    pool: str
    parts: tuple[Part, ...] = field(default=())

    @property
    def missing(self) -> tuple[str, ...]:
        """Everything that is missing."""
        return tuple(sentence for part in self.parts for sentence in part.missing)

    def fields(self) -> dict[str, object]:
        """For a JSON line."""
        return {
            "version": self.version,
            "pool": self.pool,
            **{part.name: part.facts() for part in self.parts},
            "missing": list(self.missing),
        }

    def block(self) -> str:
        """For people: a line a family, then a line for everything that is missing."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"worker starting: {self.version}, pool {self.pool or '(none)'}"
        for part in self.parts:
            yield f"  {part.name:<10}{part.line() or 'none'}"
        for sentence in self.missing:
            yield f"  {'missing':<10}{sentence}"


def _words(name: str, value: object) -> str:
    if isinstance(value, bool):
        return name if value else "off" if name == "on" else f"not {name}"
    text = f"{value:g}" if isinstance(value, float) else ",".join(value) if isinstance(value, tuple) else str(value)
    return f"{name.replace('_', ' ')} {text}"
