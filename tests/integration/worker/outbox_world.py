"""Databases of both kinds with an outbox in them, for the tests of the outbox."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tests.integration.worker.bench import COMMAND
from workerpool_worker import outbox
from workerpool_worker.models import Payment
from workerpool_worker.outbox.table import outbox as table
from workerpool_worker.runtime.database import create_tables, make_engine


def fresh_database(kind: str, folder: Path, postgres: str | None) -> str:
    """The URL of a database with the tables in it, and nothing in the tables."""
    url = postgres if kind == "postgresql" and postgres is not None else f"sqlite:///{folder / 'workerpool.db'}"
    engine = make_engine(url)
    if kind == "postgresql":
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA public CASCADE")
            connection.exec_driver_sql("CREATE SCHEMA public")
    create_tables(engine)
    engine.dispose()
    return url


def payment(number: object) -> Payment:
    return Payment(id=f"p{number}", amount_minor=500)


def write(engine: sa.Engine, *numbers: object) -> None:
    """Commit payments to the outbox."""
    with engine.begin() as connection:
        for number in numbers:
            outbox.add(connection, payment(number))


def rows(engine: sa.Engine) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(sa.select(table).order_by(table.c.id)).all())


@dataclass
class RelayProcess:
    """`workerpool-worker relay` in a process of its own."""

    process: subprocess.Popen[bytes]
    log: Path

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def messages(self) -> list[str]:
        return [str(line["message"]) for line in self.lines()]

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


@contextlib.contextmanager
def relay_process(environment: dict[str, str], log: Path, *command: str) -> Iterator[RelayProcess]:
    """Start a relay, or another command that is one; SIGKILL at the end."""
    with log.open("ab") as file:
        process = subprocess.Popen(
            command or (COMMAND, "relay"), env=environment, stdout=file, stderr=file, start_new_session=True
        )
    made = RelayProcess(process, log)
    try:
        yield made
    finally:
        made.end()
