"""The options that every `enqueue` command has: when, how urgent, and what the job belongs to."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import click

_Command = Callable[..., Any]
_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_USAGE_ERROR = 2


@dataclass(frozen=True, kw_only=True)
class How:
    """How jobs are to be sent: what `Producer.send` takes besides the job."""

    due_at: datetime | None = None
    priority: int | None = None
    correlation_id: str | None = None

    def arguments(self) -> dict[str, Any]:
        """As keyword arguments."""
        return asdict(self)


def with_how(command: _Command) -> _Command:
    """Add the options to a command, which gets them as the argument `how`."""

    @functools.wraps(command)
    def wrapped(
        *, in_: str | None, at: str | None, priority: int | None, correlation_id: str | None, **rest: Any
    ) -> Any:
        how = How(due_at=_due_at(in_, at), priority=priority, correlation_id=correlation_id)
        return command(how=how, **rest)

    for option in reversed(
        (
            click.option("--in", "in_", metavar="DURATION", help="Not before this time has passed: 90s, 10m, 2h, 7d."),
            click.option("--at", metavar="TIME", help="Not before this time: 2026-12-01T08:00:00+01:00."),
            click.option(
                "--priority",
                type=click.IntRange(0, 9),
                help="0 (first, the default) to 9 (last) among the jobs of the queue.",
            ),
            click.option("--correlation-id", help="What the job belongs to; its follow-up jobs inherit it."),
        )
    ):
        wrapped = option(wrapped)
    return wrapped


def _due_at(in_: str | None, at: str | None) -> datetime | None:
    from workerpool_worker.commands.common import fail  # noqa: PLC0415 - it imports this module

    if in_ is not None and at is not None:
        fail("name --in or --at, not both", _USAGE_ERROR)
    if in_ is not None:
        found = re.fullmatch(r"(\d{1,9})([smhd])", in_)
        if found is None:
            fail(f"--in {in_}: write a number and its unit, such as 90s, 10m, 2h or 7d", _USAGE_ERROR)
        try:
            return datetime.now(UTC) + timedelta(seconds=int(found[1]) * _UNITS_S[found[2]])
        except OverflowError:
            fail(f"--in {in_}: is beyond the year 9999", _USAGE_ERROR)
    if at is None:
        return None
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        fail(f"--at {at}: write a time such as 2026-12-01T08:00:00+01:00", _USAGE_ERROR)
    if moment.tzinfo is None:
        fail(f"--at {at}: say in which time zone, such as {at}+01:00 or {at}Z", _USAGE_ERROR)
    return moment
