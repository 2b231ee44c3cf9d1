"""How one setting is declared: its default, its variables, its meaning, whether it is a secret, its limits."""

from __future__ import annotations

from typing import Any

from pydantic import Field


def setting(default: Any, *variables: str, meaning: str, secret: bool = False, **limits: Any) -> Any:
    """A field of a settings model, read from the first of its environment variables that is set."""
    return Field(
        default,
        description=meaning,
        validate_default=True,
        json_schema_extra={"env": list(variables), "secret": secret},
        # A URL may hold a password. What is left out here is in no log line that shows all settings.
        repr=not (secret or any(variable.endswith("_URL") for variable in variables)),
        **limits,
    )


def known_url(value: str, schemes: tuple[str, ...], example: str) -> str:
    """The value, if it is a URL of one of the schemes.

    Raises:
        ValueError: it is not; the text shows an example.
    """
    if value.partition("://")[0] not in schemes or "://" not in value:
        raise ValueError(f"must be a URL such as {example}")
    return value
