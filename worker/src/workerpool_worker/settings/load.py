"""Reading the settings from the environment, and showing them: both from the lines that declare them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from workerpool_worker.settings.model import Settings

_Part = TypeVar("_Part", bound=BaseModel)


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
    return load_part(Settings, environ, **overrides)


def load_part(part: type[_Part], environ: Mapping[str, str] | None = None, **overrides: object) -> _Part:
    """Read one family of the settings only: what a program needs that is no worker.

    Raises:
        SettingsError: as for `load_settings`.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, object] = {}
    for name, variables in _variables().items():
        if name not in part.model_fields:
            continue
        found = next((environ[variable] for variable in variables if environ.get(variable)), None)
        if found is not None:
            values[name] = found
    values.update({name: value for name, value in overrides.items() if value is not None})
    try:
        return part.model_validate(values)
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
    """The URL fit for a log line: its password and query replaced, also where it is no proper URL."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return "***" if "@" in url else url
    # With nothing where a host would be, as in sqlite:///file, an @ is part of the path.
    login, at, place = ("", "", rest) if rest.startswith("/") else rest.rpartition("@")
    if any(mark in login for mark in "/?#") or (not at and not _only_hosts(place)):
        return f"{scheme}://***"  # a password that was not encoded, or not ended: nobody can tell which part it is
    user, colon, _ = login.partition(":")
    shown = f"{user}:***@" if colon else "***@" if at else ""
    bare = min((place.index(mark) for mark in "?#" if mark in place), default=len(place))
    return f"{scheme}://{shown}{place[:bare]}{'?***' if bare < len(place) else ''}"


def _only_hosts(place: str) -> bool:
    """Whether what stands before the path can be hosts and ports."""
    hosts = place.replace("?", "/").replace("#", "/").partition("/")[0]
    ports = (host.rpartition("]")[2].partition(":")[2] for host in hosts.split(","))
    return all(port.isdigit() or not port for port in ports)


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
