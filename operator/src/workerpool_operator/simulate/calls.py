"""Descriptions written like calls, ``lognormal(mean=2, cv=1)``, as they stand on the command line.

    call     = NAME [ "(" [ argument { "," argument } ] ")" ]
    argument = [ NAME "=" ] ( number | call )

Numbers are decimal, with ``s``, ``m`` or ``h`` behind them for a time in seconds, minutes or hours.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from workerpool_operator.simulate.errors import SimulateError

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|\.\d+)(?P<unit>[smh]?)(?![\w.])|(?P<name>[a-zA-Z][\w-]*)|(?P<sign>[(),=]))"
)
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_DEPTH_MAX = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """A name with its arguments: those without a name in order, those with one by it."""

    name: str
    plain: tuple[float | Call, ...] = ()
    named: dict[str, float | Call] = field(default_factory=dict)
    text: str = ""

    def numbers(self, order: Sequence[str], *, optional: dict[str, float] | None = None) -> dict[str, float]:
        """Its arguments as numbers, where those without a name are taken in this order.

        Raises:
            SimulateError: one is missing, not known, given twice, or not a number.
        """
        given = dict(zip(order, self.plain, strict=False))
        known = (*order, *(optional or {}))
        if len(self.plain) > len(order) or given.keys() & self.named.keys() or self.named.keys() - set(known):
            raise SimulateError(f"{self.text}: {self.name} takes {', '.join(known)}, each once")
        given |= self.named
        values = dict(optional or {})
        for name in known:
            value = given.get(name)
            if isinstance(value, Call):
                raise SimulateError(f"{self.text}: {name} of {self.name} must be a number")
            if value is not None:
                values[name] = value
            elif name not in values:
                raise SimulateError(f"{self.text}: {self.name} needs {name}, such as {name}=2")
        return values


def parse_call(text: str, what: str) -> Call:
    """Read one description; ``what`` names the option in messages.

    Raises:
        SimulateError: it is not one; the text says where it breaks.
    """
    tokens = _tokens(text, what)
    reader = _Reader(tokens=tokens, text=text, what=what)
    call = reader.call(0)
    if reader.position < len(tokens):
        raise reader.broken("the end")
    return call


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int
    value: float = 0.0


def _tokens(text: str, what: str) -> list[_Token]:
    tokens, at = [], 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None:
            raise SimulateError(f"{what}: {text!r} cannot be read from {text[at:].strip()[:20]!r} on")
        kind = str(match.lastgroup) if match.lastgroup != "unit" else "number"
        value = float(match["number"]) * _UNITS[match["unit"]] if match["number"] else 0.0
        if not math.isfinite(value):
            raise SimulateError(f"{what}: {text!r}: {match['number']} is too large")
        tokens.append(_Token(kind, match[0].strip(), match.start(), value))
        at = match.end()
    return tokens


@dataclass(kw_only=True, slots=True)
class _Reader:
    tokens: list[_Token]
    text: str
    what: str
    position: int = 0

    def call(self, depth: int) -> Call:
        name = self._take("name", "a name such as lognormal")
        plain: list[float | Call] = []
        named: dict[str, float | Call] = {}
        if depth > _DEPTH_MAX:
            raise SimulateError(f"{self.what}: {self.text[:40]!r}... is nested too deeply")
        if self._peek("("):
            self.position += 1
            while not self._peek(")"):
                self._argument(plain, named, depth)
                if not self._peek(")"):
                    self._take(",", "a comma or a closing bracket")
            self.position += 1
        return Call(name=name, plain=tuple(plain), named=named, text=self.text)

    def _argument(self, plain: list[float | Call], named: dict[str, float | Call], depth: int) -> None:
        following = self.tokens[self.position + 1] if self.position + 1 < len(self.tokens) else None
        if following is None or following.text != "=":
            if named:
                raise self.broken("a name: after the first named argument all have one")
            plain.append(self._value(depth))
            return
        name = self._take("name", "a name before =")
        self.position += 1
        if name in named:
            raise SimulateError(f"{self.what}: {self.text!r}: {name} is given twice")
        named[name] = self._value(depth)

    def _value(self, depth: int) -> float | Call:
        if self.position < len(self.tokens) and self.tokens[self.position].kind == "number":
            self.position += 1
            return self.tokens[self.position - 1].value
        return self.call(depth + 1)

    def _peek(self, sign: str) -> bool:
        return self.position < len(self.tokens) and self.tokens[self.position].text == sign

    def _take(self, wanted: str, described: str) -> str:
        token = self.tokens[self.position] if self.position < len(self.tokens) else None
        if token is None or wanted not in (token.kind, token.text):
            raise self.broken(described)
        self.position += 1
        return token.text

    def broken(self, wanted: str) -> SimulateError:
        """What was expected where the reading stands."""
        found = repr(self.tokens[self.position].text) if self.position < len(self.tokens) else "the end"
        return SimulateError(f"{self.what}: {self.text!r}: expected {wanted}, found {found}")
