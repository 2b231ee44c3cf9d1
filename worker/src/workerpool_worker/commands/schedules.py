"""`workerpool-worker schedules`: what is due when, and what lies in Redis."""

# ruff: noqa: PLC0415 - the CLI imports this module

from __future__ import annotations

import datetime as dt
import time
from typing import TYPE_CHECKING, NamedTuple

import click

if TYPE_CHECKING:
    from workerpool_worker.schedules.occurrences import Record
    from workerpool_worker.schedules.plan import Schedule


class Row(NamedTuple):
    """One line of the table."""

    name: str
    cron: str
    zone: str
    task: str
    queue: str
    next_due: str
    last_put_in: str


_HEAD = Row("NAME", "CRON", "TIME ZONE", "TASK", "QUEUE", "NEXT DUE", "LAST PUT IN")


@click.command()
@click.option("--forget", metavar="NAME", help="Take a schedule that nobody has any more out of Redis.")
def schedules(forget: str | None) -> None:
    """What is due when, and what lies in Redis for it."""
    from workerpool_worker.commands.common import fail, settings_or_fail

    settings = settings_or_fail()
    from redis.exceptions import RedisError

    from workerpool_worker.broker.connect import client_for
    from workerpool_worker.broker.errors import reason
    from workerpool_worker.schedules import occurrences

    try:
        with client_for(settings) as client:
            if forget is not None:
                if not occurrences.forget(client, forget):
                    fail(f"Redis knows no schedule {forget}; workerpool-worker schedules lists those it knows")
                click.echo(f"{forget}: forgotten; workers whose settings have it put it in again")
                return
            known = occurrences.records(client)
            now_s = occurrences.now_of(client)
    except (RedisError, OSError) as error:
        if forget is None:
            _print(table(settings.schedules, None, time.time()))
        fail(f"cannot reach Redis at {settings.broker}: {reason(error, settings.broker)}")
    _print(table(settings.schedules, known, now_s))


def table(wanted: tuple[Schedule, ...], known: dict[str, Record] | None, now_s: float) -> list[Row]:
    """The rows: schedules of the settings, then those that only Redis knows.

    Args:
        wanted: Of the settings.
        known: What Redis knows; None: it could not be asked.
        now_s: Unix seconds.
    """
    rows = [_HEAD]
    for schedule in wanted:
        due_s = schedule.next_due_s(now_s)
        record = (known or {}).get(schedule.name)
        rows.append(
            Row(
                schedule.name,
                schedule.cron,
                schedule.zone,
                schedule.task,
                schedule.queue,
                "never" if due_s is None else f"{_local(due_s, schedule.zone)} ({_relative(due_s - now_s)})",
                "unknown" if known is None else _put_in(record, schedule.zone, now_s),
            )
        )
    strangers = sorted((known or {}).keys() - {schedule.name for schedule in wanted})
    rows += [
        Row(name, "-", "-", "-", "-", "not in these settings", _put_in((known or {})[name], "UTC", now_s))
        for name in strangers
    ]
    return rows


def _put_in(record: Record | None, zone: str, now_s: float) -> str:
    if record is None:
        return "never"
    by = f" by {record.source}" if record.source else ""
    if not record.waits:
        state = "went to its queue"
    elif record.due_s > now_s:
        state = "waits"
    else:
        state = "overdue: no worker consumes its queue"
    return f"{_local(record.due_s, zone)} ({state}){by}"


def _local(moment_s: float, zone: str) -> str:
    from workerpool_worker.schedules.cron import time_zone

    return dt.datetime.fromtimestamp(moment_s, time_zone(zone)).strftime("%Y-%m-%d %H:%M")


def _relative(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if abs(seconds) >= size:
            return f"in {seconds / size:.0f} {unit}"
    return f"in {seconds:.0f} s"


def _print(rows: list[Row]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
