"""What the commands share: one line on stderr instead of a traceback, settings, the database."""

# ruff: noqa: PLC0415 - a command imports what it needs, so that none waits for what another needs

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import click

from workerpool_worker.settings import Settings, SettingsError, load_settings, without_password

if TYPE_CHECKING:
    from sqlalchemy import Engine

_USAGE_ERROR = 2


def fail(text: str, status: int = 1) -> NoReturn:
    """End with one line on stderr."""
    click.echo(f"workerpool-worker: {text}", err=True)
    sys.exit(status)


def settings_or_fail(**overrides: Any) -> Settings:
    """The settings, or one line that names the variable, and status 2."""
    try:
        return load_settings(**overrides)
    except SettingsError as error:
        fail(str(error), _USAGE_ERROR)


@contextmanager
def on_database(settings: Settings) -> Iterator[Engine]:
    """The database with its tables in place; what goes wrong with it ends the command with one line."""
    from sqlalchemy.exc import SQLAlchemyError

    from workerpool_worker.runtime.database import engine_for
    from workerpool_worker.store.schema import SchemaError

    try:
        yield engine_for(settings.database)
    except SchemaError as error:
        fail(f"{without_password(settings.database)}: {error}")
    except (SQLAlchemyError, OSError, ImportError) as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())
        fail(f"cannot use the database {without_password(settings.database)}: {reason}; check DATABASE_URL")
