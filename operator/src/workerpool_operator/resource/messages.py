"""Turns what pydantic finds into plain sentences that say what to do, and never repeats what may be a secret."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from workerpool_operator.resource.base import MEANING_OF_PATTERN
from workerpool_operator.resource.errors import Problem, render_path
from workerpool_operator.resource.fields import fields_of, homes, model_at

_SECRETIVE = frozenset({"url", "value", "command", "args", "annotations", "podAnnotations"})
_MAX_SHOWN = 60


def shown(value: object, path: tuple[str | int, ...]) -> str | None:
    """A value as a message may repeat it; None when it may hold a secret, is long, or is not a scalar.

    Addresses never are repeated, wherever they stand: people put them, password and all, in the wrong field.
    """
    if isinstance(value, (bool, int, float)):
        text = str(value).lower()
    elif isinstance(value, str):
        text = f'"{value}"'
    else:
        return None
    secretive = any(part in _SECRETIVE for part in path) or "://" in text or "@" in text
    return None if secretive or len(text) > _MAX_SHOWN or not text.isprintable() else text


def _kind(value: object) -> str:
    """What a value is, in words."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    return "text" if isinstance(value, str) else "a list" if isinstance(value, list) else "a mapping"


def _named(error: ErrorDetails) -> str:
    """The value, or what it is where it may not be shown."""
    value, path = error["input"], error["loc"]
    text = shown(value, path)
    if text is None or not isinstance(value, (str, int, float)) or isinstance(value, bool):
        return text or _kind(value)
    return f"{'the text' if isinstance(value, str) else 'the number'} {text}"


def _subject(error: ErrorDetails) -> str:
    """The value as the subject of a sentence, with a space after it; empty where it may not be shown."""
    text = shown(error["input"], error["loc"])
    return f"{text} " if text else ""


def _wrong_type(expected: str) -> Callable[[ErrorDetails], str]:
    def say(error: ErrorDetails) -> str:
        value = error["input"]
        hint = ""
        if expected == "text" and isinstance(value, (bool, int, float)):
            hint = " (put it in quotes)"
        elif expected in ("a whole number", "true or false") and isinstance(value, str) and value.strip():
            hint = " (remove the quotes)" if value in ("true", "false") or value.lstrip("+-").isdecimal() else ""
        return f"must be {expected}, not {_named(error)}{hint}"

    return say


def _wrong_structure(expected: str) -> Callable[[ErrorDetails], str]:
    return lambda error: f"must be {expected}, not {_kind(error['input'])}"


def _context(error: ErrorDetails) -> Mapping[str, Any]:
    return error.get("ctx", {})


def _not_a_choice(error: ErrorDetails) -> str:
    choices = str(_context(error)["expected"]).replace("' or '", "', '").replace("'", "")
    close = difflib.get_close_matches(str(error["input"]), choices.split(", "), n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]}?" if close else ""
    if ", " not in choices:
        return f"must be {choices}, not {_named(error)}"
    return f"{_subject(error)}is not one of {choices}{hint}"


def _unknown_field(error: ErrorDetails) -> str:
    *parent, name = error["loc"]
    owner = model_at(parent)
    siblings = {alias.casefold(): alias for alias in fields_of(owner)} if owner else {}
    close = difflib.get_close_matches(str(name).replace("_", "").casefold(), siblings, n=1, cutoff=0.7)
    if close:
        return f"unknown field; did you mean {siblings[close[0]]}?"
    home = homes().get(str(name))
    return f"unknown field; did you mean {render_path(home)}?" if home else "unknown field; remove it"


def _too_many(error: ErrorDetails) -> str:
    context = _context(error)
    return f"has {context['actual_length']} entries; at most {context['max_length']} are allowed"


def _too_long(error: ErrorDetails) -> str:
    return f"has {len(error['input'])} characters; at most {_context(error)['max_length']} are allowed"


def _no_match(error: ErrorDetails) -> str:
    return f"{_subject(error)}{MEANING_OF_PATTERN[_context(error)['pattern']]}"


_SENTENCES: Mapping[str, Callable[[ErrorDetails], str]] = {
    "missing": lambda _: "is required",
    "extra_forbidden": _unknown_field,
    "int_type": _wrong_type("a whole number"),
    "int_parsing_size": _wrong_type("a whole number"),
    "string_type": _wrong_type("text"),
    "bool_type": _wrong_type("true or false"),
    "tuple_type": _wrong_structure("a list"),
    "list_type": _wrong_structure("a list"),
    "dict_type": _wrong_structure("a mapping (field: value)"),
    "model_type": _wrong_structure("a mapping (field: value)"),
    "enum": _not_a_choice,
    "literal_error": _not_a_choice,
    "greater_than_equal": lambda error: f"must be at least {_context(error)['ge']}, not {error['input']}",
    "less_than_equal": lambda error: f"must be at most {_context(error)['le']}, not {error['input']}",
    "string_too_short": lambda _: "must not be empty",
    "too_short": lambda _: "must not be empty",
    "string_too_long": _too_long,
    "too_long": _too_many,
    "string_pattern_mismatch": _no_match,
    "value_error": lambda error: str(_context(error)["error"]),
}


def problems_of(error: ValidationError) -> list[Problem]:
    """Every problem that pydantic found, in plain words, in the order of the model."""
    details = error.errors(include_url=False)
    found = []
    for detail in details:
        place = detail["loc"]
        if detail["type"] == "too_short" and any(o["loc"][: len(place)] == place and o is not detail for o in details):
            continue  # the list is not empty: pydantic does not count the entries that are wrong
        say = _SENTENCES.get(detail["type"])
        # A key of a mapping is reported under [key], which is no place that an author knows.
        path = tuple(part for part in place if part != "[key]")
        found.append(Problem(path=path, message=say(detail) if say else "is not valid; see docs/workerpool.md"))
    return found
