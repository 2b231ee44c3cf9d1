"""The messages of maintenance. Their ids only have to differ from one run to the next; schedules see to it."""

from __future__ import annotations

from datetime import date
from typing import ClassVar

from workerpool_worker.models import Job
from workerpool_worker.schedules.plan import MAINTENANCE_QUEUE


class Recover(Job):
    """Set going again what got stuck."""

    task: ClassVar[str] = "maintenance.recover"
    queue: ClassVar[str] = MAINTENANCE_QUEUE
    prefix: ClassVar[str] = "maintenance-recover"


class CleanUp(Job):
    """Delete what is past its time."""

    task: ClassVar[str] = "maintenance.cleanup"
    queue: ClassVar[str] = MAINTENANCE_QUEUE
    prefix: ClassVar[str] = "maintenance-cleanup"


class Report(Job):
    """Send the report of a day; without one, of the day before, by the clocks of WORKERPOOL_CRON_TIME_ZONE."""

    task: ClassVar[str] = "maintenance.report"
    queue: ClassVar[str] = MAINTENANCE_QUEUE
    prefix: ClassVar[str] = "maintenance-report"

    day: date | None = None
