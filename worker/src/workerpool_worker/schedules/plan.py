"""What a schedule is, and where schedules come from: the built-in ones of the settings, the shop's from a YAML file."""

# ruff: noqa: PLC0415 - settings are read by everything; cron, zones, YAML and the table of jobs only where needed

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from workerpool_worker.settings.entries import entries_of, only_known, word

MAINTENANCE_QUEUE = "maintenance"
BUILT_IN = ("recover", "cleanup", "report")
OFF = "off"

_FIELDS = ("name", "cron", "timeZone", "task", "arguments", "queue")
_LONGEST_NAME = 63
_LONGEST_QUEUE_NAME = 253  # as in the WorkerPool resource


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A job to be done again and again.

    Attributes:
        name: Names it in Redis, in the ids of its jobs and in the log.
        cron: Five fields.
        zone: The IANA time zone whose clocks it goes by.
        arguments: The task's; `id` is added for each occurrence where the task is one of ours and none is given.
        own_id: Whether `id` is to be added.
    """

    name: str
    cron: str
    zone: str
    task: str
    queue: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    own_id: bool = False

    @cached_property
    def definition(self) -> str:
        """The same for the same schedule, another for one that differs in anything."""
        parts = (self.cron.split(), self.zone, self.task, self.queue, self.arguments, self.own_id)
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    def next_due_s(self, now_s: float) -> int | None:
        """The first occurrence after `now_s`, Unix seconds; None when there is none in 50 years."""
        from workerpool_worker.schedules.cron import next_due_s

        return next_due_s(self.cron, self.zone, now_s)

    def job_id(self, due_s: int) -> str:
        """The id of an occurrence's job."""
        return f"cron-{self.name}-{due_s}"

    def arguments_at(self, due_s: int) -> dict[str, Any]:
        """The arguments of an occurrence's job."""
        return {**({"id": f"{self.name}-{due_s}"} if self.own_id else {}), **self.arguments}


def built_in(crons: Mapping[str, str], zone: str) -> tuple[Schedule, ...]:
    """The schedules every worker knows, without those whose expression is "off" or empty."""
    return tuple(
        Schedule(name=name, cron=cron, zone=zone, task=f"maintenance.{name}", queue=MAINTENANCE_QUEUE, own_id=True)
        for name, cron in crons.items()
        if cron and cron != OFF
    )


def read_file(path: Path, zone: str, jobs: tuple[str, ...] = ()) -> tuple[Schedule, ...]:
    """The schedules of a YAML file.

    Args:
        path: The file.
        zone: That of entries that name none.
        jobs: The parts of WORKERPOOL_JOBS: tasks that are known besides the bundled and installed ones.

    Raises:
        ValueError: it cannot be used; one line that names file, entry and field.
    """
    found: dict[str, Schedule] = {}
    for where, entry in entries_of(path, "schedules", "{name, cron, task}"):
        try:
            schedule = _of_task(_schedule(entry, zone), jobs)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        if schedule.name in found:
            raise ValueError(f"{where}: name: {schedule.name} is there twice")
        found[schedule.name] = schedule
    return tuple(found.values())


def _schedule(entry: Mapping[Any, Any], zone: str) -> Schedule:
    from workerpool_worker.schedules.cron import check_cron, check_time_zone

    only_known(entry, _FIELDS)
    name = word(entry, "name", _LONGEST_NAME)
    if not name.replace("-", "").isalnum() or not name.isascii() or name != name.lower() or name.startswith("-"):
        raise ValueError(f'name: "{name}" must be small letters, digits and dashes')
    if name in BUILT_IN:
        raise ValueError(f"name: {name} is a built-in schedule; set WORKERPOOL_{name.upper()}_CRON instead")
    cron = _named("cron", check_cron, word(entry, "cron", 200))
    where = _named("timeZone", check_time_zone, word(entry, "timeZone", 100) if "timeZone" in entry else zone)
    task = word(entry, "task", 200)
    arguments = entry.get("arguments") or {}
    if not isinstance(arguments, dict) or not all(isinstance(key, str) for key in arguments):
        raise ValueError("arguments: must be a mapping of names to values")
    try:
        json.dumps(arguments, allow_nan=False)
    except (TypeError, ValueError) as error:
        # A bare date in YAML is a date, which no message can hold.
        raise ValueError(f"arguments: {error}; put dates and times into quotes") from None
    queue = word(entry, "queue", _LONGEST_QUEUE_NAME) if "queue" in entry else None
    return Schedule(name=name, cron=cron, zone=where, task=task, queue=queue or "", arguments=arguments)


def _of_task(schedule: Schedule, jobs: tuple[str, ...]) -> Schedule:
    """With what is known of its task: its queue, whether it has an id, whether the arguments will do."""
    from pydantic import ValidationError

    from workerpool_worker.registry import registered

    specs = (entry.spec for entry in registered(jobs))
    message = next((spec.message for spec in specs if spec.message.task == schedule.task), None)
    if message is None:
        if not schedule.queue:
            raise ValueError(f"queue: must be named, because {schedule.task} is not a task of this worker")
        return schedule
    whole = replace(schedule, queue=schedule.queue or message.queue, own_id="id" not in schedule.arguments)
    try:
        message.model_validate(whole.arguments_at(0))
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"arguments: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    return whole


def _named(name: str, check: Callable[[str], str], value: str) -> str:
    try:
        return check(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
