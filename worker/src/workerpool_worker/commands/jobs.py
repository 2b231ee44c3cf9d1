"""`workerpool-worker jobs list | show | counts` and `migrate`: how jobs stand, and the tables that know it."""

# ruff: noqa: PLC0415 - `--help` and a refused setting need neither SQLAlchemy nor Redis; the CLI imports this module

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workerpool_worker.settings import Settings, without_password

if TYPE_CHECKING:
    from workerpool_worker.store.places import Place
    from workerpool_worker.store.records import JobRecord
    from workerpool_worker.store.schema import Standing
    from workerpool_worker.store.status import JobStatus

_STATES = ("waiting", "delayed", "active", "completed", "failed")
_LONGEST_ERROR = 60
_USAGE_ERROR = 2


@click.group()
def jobs() -> None:
    """How jobs stand (DATABASE_URL, and for one job Redis)."""


@jobs.command("list")
@click.option("--state", type=click.Choice(_STATES), help="Only those in it.")
@click.option("--queue", help="Only those of it.")
@click.option("--task", help="Only those of it, such as order.process.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000), help="How many at most.")
@click.option("--cursor", help="Go on after the page that named it.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line.")
def list_jobs(
    *, state: str | None, queue: str | None, task: str | None, limit: int, cursor: str | None, as_json: bool
) -> None:
    """Jobs that workers have begun, the latest change first.

    One that nobody has begun yet is in Redis only: `jobs show` finds it by its id.
    """
    from workerpool_worker.commands.common import fail, on_database, settings_or_fail

    settings = settings_or_fail()
    _say_if_off(settings)
    from workerpool_worker.store.queries import listing

    with on_database(settings) as engine:
        try:
            page = listing(engine, state=state, queue=queue, task=task, limit=limit, cursor=cursor)
        except ValueError as error:
            fail(f"--cursor: {error}", _USAGE_ERROR)
    if as_json:
        for job in page.jobs:
            click.echo(json.dumps(asdict(job)))
    else:
        _print(
            ("ID", "STATE", "QUEUE", "TASK", "TRIES", "DONE", "CHANGED (UTC)", "ERROR"), [_row(j) for j in page.jobs]
        )
    if page.cursor is not None:
        click.echo(f"there are more: --cursor '{page.cursor}'", err=True)


@jobs.command()
@click.argument("job_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def show(job_id: str, *, as_json: bool) -> None:
    """One job: what became of its tries, and where its message is."""
    from workerpool_worker.commands.common import fail, on_database, settings_or_fail

    settings = settings_or_fail()
    _say_if_off(settings)
    with on_database(settings) as engine:
        found, trouble = _status(engine, settings, job_id)
    if not found.known:
        fail(_not_found(settings, found, trouble))
    if trouble:
        click.echo(f"workerpool-worker: {trouble}; this is what the database knows", err=True)
    click.echo(json.dumps(as_object(found)) if as_json else "\n".join(as_lines(found)))


@jobs.command()
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line.")
def counts(*, as_json: bool) -> None:
    """How many jobs there are in each state, by queue."""
    from workerpool_worker.commands.common import on_database, settings_or_fail

    settings = settings_or_fail()
    _say_if_off(settings)
    from workerpool_worker.store import queries

    with on_database(settings) as engine:
        found = queries.counts(engine)
    if as_json:
        for count in found:
            click.echo(json.dumps(asdict(count)))
        return
    numbers: dict[tuple[str, str], int] = {(count.queue, count.state): count.count for count in found}
    rows = [
        (queue, *(str(numbers.get((queue, state), 0)) for state in _STATES))
        for queue in sorted({count.queue for count in found})
    ]
    _print(("QUEUE", *(state.upper() for state in _STATES)), rows)


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; status 1 where something is to be done.")
def migrate(*, check: bool) -> None:
    """Bring the database's tables (DATABASE_URL) to this version. Workers do it by themselves when they start."""
    from workerpool_worker.commands.common import fail, on_database, settings_or_fail

    settings = settings_or_fail()
    from workerpool_worker.store.schema import HEAD, Standing

    place = without_password(settings.database)
    version, standing = _standing(settings)
    if standing is Standing.NEWER_MINOR:
        click.echo(f"{place}: version {version}, newer than this program's {HEAD}, which can work with it")
    elif standing is Standing.CURRENT:
        click.echo(f"{place}: version {version}, up to date")
    elif standing is Standing.NEWER_MAJOR or not check:
        with on_database(settings):
            click.echo(f"{place}: brought {'from version ' + version + ' ' if version else ''}to version {HEAD}")
    else:
        fail(f"{place}: {'version ' + version if version else 'no version'}, this program needs {HEAD}; run migrate")


def as_object(found: JobStatus) -> dict[str, Any]:
    """The status as one flat object; times are Unix seconds."""
    known: dict[str, Any] = {} if found.record is None else asdict(found.record)
    place = found.place
    if place is not None:
        known = _filled(known, place)
    known |= {"id": found.id, "state": found.state, "note": found.note or None}
    known["place"] = None if place is None else asdict(place)
    return known


def as_lines(found: JobStatus) -> list[str]:
    """The status for people; what is not known has no line."""
    known = as_object(found)
    place = found.place
    lines: dict[str, object] = {
        "id": found.id,
        "state": found.state,
        "task": known.get("task"),
        "queue": known.get("queue"),
        "tries": known.get("attempts"),
        "progress": _progress(found.record),
        "result": None if known.get("result") is None else json.dumps(known["result"]),
        "error": _error(known),
        "sent": _time(known.get("enqueued_at")),
        "begun": _time(known.get("started_at")),
        "finished": _time(known.get("finished_at")),
        "due": _time(known.get("due_at")) if found.state == "delayed" else None,
        "changed": _time(known.get("updated_at")),
        "worker": known.get("worker"),
        "belongs to": known.get("correlation_id"),
        "message": None if place is None else _where(place),
        "note": found.note,
    }
    return [f"{name:<11}{value}" for name, value in lines.items() if value not in {None, ""}]


def _filled(known: dict[str, Any], place: Place) -> dict[str, Any]:
    """With what the message says where the database says nothing, or something older."""
    said = {name: getattr(place, name) for name in ("queue", "task", "enqueued_at", "correlation_id")}
    if place.due_at is not None:
        said["due_at"] = place.due_at
    if place.kind == "dead letters":
        said |= {"error_class": place.error_class, "error": place.error, "finished_at": place.died_at}
    said["attempts"] = max(place.tries, known.get("attempts") or 0)
    return known | {name: value for name, value in said.items() if value is not None}


def _status(engine: Any, settings: Settings, job_id: str) -> tuple[JobStatus, str]:
    """The status, and what is wrong with Redis."""
    from redis.exceptions import RedisError

    from workerpool_worker.broker.connect import client_for
    from workerpool_worker.broker.errors import reason
    from workerpool_worker.store.status import status

    try:
        with client_for(settings) as client:
            return status(engine, client, job_id, queues=_queues(settings)), ""
    except (RedisError, OSError) as error:
        trouble = f"cannot ask Redis at {settings.broker}: {reason(error, settings.broker)}"
        return status(engine, None, job_id), trouble


def _queues(settings: Settings) -> tuple[str, ...]:
    from workerpool_worker.registry import all_jobs
    from workerpool_worker.registry_checks import RegistryError
    from workerpool_worker.settings import KNOWN_QUEUES

    try:
        theirs = sorted({spec.message.queue for spec in all_jobs(settings)})
    except RegistryError:
        theirs = []
    return tuple(dict.fromkeys([*settings.queues, *KNOWN_QUEUES, *theirs]))


def _not_found(settings: Settings, found: JobStatus, trouble: str) -> str:
    text = f"no job {found.id}: looked in the database {without_password(settings.database)}"
    if trouble:
        return f"{text}; {trouble}"
    text += f" and in Redis at {settings.broker}, in the queues {', '.join(_queues(settings))} with their delayed jobs "
    return f"{text}and dead letters, and in what workers hold" + (f"; {found.note}" if found.note else "")


def _standing(settings: Settings) -> tuple[str | None, Standing]:
    import sqlalchemy as sa

    from workerpool_worker.commands.common import fail
    from workerpool_worker.runtime.database import make_engine, reading
    from workerpool_worker.store.schema import SchemaError, Standing, standing_of, version_of

    place = without_password(settings.database)
    try:
        url = sa.make_url(settings.database)
        # Connecting would make the file, and looking must not.
        if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
            return None, Standing.NONE
        engine = make_engine(settings.database)
        try:
            with reading(engine) as connection:
                version = version_of(connection)
            return version, standing_of(version)
        finally:
            engine.dispose()
    except SchemaError as error:
        fail(f"{place}: {error}")
    except (sa.exc.SQLAlchemyError, OSError, ImportError) as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())
        fail(f"cannot use the database {place}: {reason}; check DATABASE_URL")


def _say_if_off(settings: Settings) -> None:
    if not settings.job_status:
        click.echo("workerpool-worker: WORKERPOOL_JOB_STATUS is off: what is shown is from before", err=True)


def _row(job: JobRecord) -> tuple[str, ...]:
    done = f"{job.percent:.0f} %"
    error = _error(asdict(job)) or ""
    short = error if len(error) <= _LONGEST_ERROR else f"{error[: _LONGEST_ERROR - 1]}…"
    return job.id, job.state, job.queue, job.task, str(job.attempts), done, _time(job.updated_at) or "", short


def _progress(record: JobRecord | None) -> str | None:
    if record is None or not (record.percent or record.message):
        return None
    return f"{record.percent:.0f} %" + (f", {record.message}" if record.message else "")


def _error(known: dict[str, Any]) -> str | None:
    parts = [str(known[name]) for name in ("error_class", "error") if known.get(name)]
    return " ".join(": ".join(parts).split()) or None


def _where(place: Place) -> str:
    from workerpool_worker.store.places import names

    key = names([place.key])
    if place.kind == "queue":
        return f"in the list {key}, {place.ahead} before it"
    return {
        "delayed": f"in {key}",
        "unacked": f"with a worker, in {key}",
        "dead letters": f"in {key}; workerpool-worker dead-letters requeues it",
        "outbox": "in the table outbox, not yet in Redis",
    }[place.kind]


def _time(moment_s: float | None) -> str | None:
    return None if moment_s is None else datetime.fromtimestamp(moment_s, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _print(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
