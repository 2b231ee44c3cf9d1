"""`workerpool-worker tasks` and `enqueue job`: the commands for jobs of any kind, those of others among them."""

# ruff: noqa: PLC0415 - `--help` and a refused argument need none of it; the CLI imports this module

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TextIO

import click

from workerpool_worker.commands.enqueue_options import How, with_how

if TYPE_CHECKING:
    from workerpool_worker.models import Job
    from workerpool_worker.registry import JobSpec, Registered
    from workerpool_worker.settings import Settings


@click.command()
@click.option("--check", is_flag=True, help="Also import the code of every job, as a worker's children do.")
def tasks(*, check: bool) -> None:
    """Every job this worker knows: its queue, whether it is consumed here, its fields and who brought it.

    A field in brackets may be left out.
    """
    from workerpool_worker.commands.common import fail, settings_or_fail

    settings = settings_or_fail()
    table = jobs_or_fail(settings)
    rows = [("TASK", "QUEUE", "CONSUMED", "FROM", "FIELDS"), *(_row(entry, settings) for entry in table)]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        click.echo("  ".join([*(row[column].ljust(widths[column]) for column in range(4)), row[4]]).rstrip())
    wrong = [line for entry in table if (line := _code_error(entry))] if check else []
    if wrong:
        fail("\nworkerpool-worker: ".join(wrong))


@click.command("job")
@click.argument("task", metavar="TASK")
@click.argument("fields", metavar="FIELD=VALUE...", nargs=-1)
@click.option("--id", "business_id", help="Business id; the same id is the same job.")
@click.option("--json", "file", type=click.File("r"), metavar="FILE", help="The fields as a JSON object; -: stdin.")
@with_how
def enqueue_job(*, how: How, task: str, fields: tuple[str, ...], business_id: str | None, file: TextIO | None) -> None:
    """Any job, by the name of its task: `enqueue job catalogue.sync --id mon feed_url=https://…`."""
    from workerpool_worker.commands.common import fail, settings_or_fail
    from workerpool_worker.commands.enqueue import checked, said, sent

    settings = settings_or_fail()
    spec = _spec_or_fail(settings, task)
    given: dict[str, Any] = {"id": business_id} if business_id is not None else {}
    for text in fields:
        name, equals, value = text.partition("=")
        if not equals or not name:
            fail(f"{text}: write FIELD=VALUE, such as id=1", 2)
        given[name] = value

    def make() -> list[Job]:
        if file is None:
            return [spec.message.model_validate_strings(given)]
        return [spec.message.model_validate(_object(file) | given)]

    jobs = checked(make)
    said(settings, jobs, sent(settings, jobs, how))


def jobs_or_fail(settings: Settings) -> tuple[Registered, ...]:
    """Every job, or one line that says whose cannot be used, and status 2."""
    from workerpool_worker.commands.common import fail
    from workerpool_worker.registry import registered
    from workerpool_worker.registry_checks import RegistryError

    try:
        return registered(settings.jobs)
    except RegistryError as error:
        fail(str(error), 2)


def _spec_or_fail(settings: Settings, task: str) -> JobSpec:
    from workerpool_worker.commands.common import fail

    found = next((entry.spec for entry in jobs_or_fail(settings) if entry.spec.message.task == task), None)
    if found is None:
        fail(f"there is no task {task!r}; `workerpool-worker tasks` lists them all", 2)
    return found


def _object(file: TextIO) -> dict[str, Any]:
    from workerpool_worker.commands.common import fail

    try:
        found = json.load(file)
    except ValueError as error:
        fail(f"--json {file.name}: {error}", 2)
    if not isinstance(found, dict):
        fail(f'--json {file.name}: must be an object such as {{"id": "1"}}', 2)
    return found


def _row(entry: Registered, settings: Settings) -> tuple[str, str, str, str, str]:
    message = entry.spec.message
    fields = [name if field.is_required() else f"[{name}]" for name, field in message.model_fields.items()]
    consumed = "yes" if message.queue in settings.queues else "no"
    return message.task, message.queue, consumed, entry.source, " ".join(fields)


def _code_error(entry: Registered) -> str | None:
    from workerpool_worker.runtime.attempt import code_of

    task, code = entry.spec.message.task, entry.spec.code
    try:
        found = code_of(entry.spec)
    except Exception as error:  # noqa: BLE001 - whatever the code of others does when it is imported
        return f"{task}: cannot import {code}: {type(error).__name__}: {' '.join(str(error).split())}"
    return None if callable(found) else f"{task}: {code} is no function"
