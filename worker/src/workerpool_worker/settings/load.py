"""Reading the settings from the environment, and showing them: both from the lines that declare them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from pydantic import ValidationError

from workerpool_worker.settings.model import Settings


class SettingsError(ValueError):
    """A setting that cannot be used; the text is one line that names the variable."""


class SettingRow(NamedTuple):
    """One line of the settings table: which variable, its value (secrets masked), where it came from."""

    variable: str
    value: str
    source: str
    meaning: str


def load_settings(environ: Mapping[str, str] | None = None, **overrides: object) -> Settings:
    """Read the settings from the environment; `overrides` (command-line options) win when not None.

    Raises:
        SettingsError: a value cannot be used; the text names its variable.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, object] = {}
    for name, variables in _variables().items():
        found = next((environ[variable] for variable in variables if environ.get(variable)), None)
        if found is not None:
            values[name] = found
    values.update({name: value for name, value in overrides.items() if value is not None})
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(_one_line(error)) from None


def settings_table(settings: Settings, environ: Mapping[str, str] | None = None) -> list[SettingRow]:
    """Every setting with its value and source, secrets masked."""
    environ = os.environ if environ is None else environ
    rows = []
    for name, variables in _variables().items():
        field = Settings.model_fields[name]
        used = next((variable for variable in variables if environ.get(variable)), None)
        value = settings.database if name == "database_url" else getattr(settings, name)
        rows.append(
            SettingRow(
                used or variables[0], _shown(name, value), "environment" if used else "default", field.description or ""
            )
        )
    return rows


def without_password(url: str) -> str:
    """The URL fit for a log line: its password and query replaced."""
    parts = urlsplit(url)
    location = parts.netloc
    if "@" in location:
        credentials, _, place = location.rpartition("@")
        user = credentials.partition(":")[0]
        location = f"{user}:***@{place}" if ":" in credentials else f"***@{place}"
    # urlunsplit would drop the empty host of sqlite:///file
    rest = f"{parts.path}?***" if parts.query else parts.path
    return f"{parts.scheme}://{location}{rest}" if "://" in url else urlunsplit(parts)


def _extra(name: str) -> dict[str, Any]:
    extra = Settings.model_fields[name].json_schema_extra
    if not isinstance(extra, dict):
        raise TypeError(f"{name} was not made by _setting()")
    return extra


def _variables() -> dict[str, list[str]]:
    return {name: _extra(name)["env"] for name in Settings.model_fields}


def _shown(name: str, value: object) -> str:
    if _extra(name)["secret"]:
        return "***" if value else ""
    if name.endswith("_url"):
        return without_password(str(value))
    return ",".join(value) if isinstance(value, tuple) else "" if value is None else str(value)


def _one_line(error: ValidationError) -> str:
    first = error.errors()[0]
    text = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return text
    name = str(first["loc"][0])
    variable = _extra(name)["env"][0]
    return f"{variable}: {text} (got {_shown(name, first['input'])!r})"
