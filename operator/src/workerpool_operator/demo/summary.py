"""How a demo went: the figures, as a table for people and as one JSON object for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from workerpool_operator.demo.chaos import OutageVerdict
from workerpool_operator.demo.effects import Account
from workerpool_operator.report.humanise import duration


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """The figures of a run; the names are the keys of ``workerpool demo --json``. None: it never happened."""

    jobs_enqueued: int
    jobs_completed: int
    jobs_lost: int
    duplicate_effects: int
    busy_workers_killed: int
    peak_replicas: int
    seconds_to_first_replica: float | None
    seconds_to_first_job: float | None
    max_wait_s: float
    final_replicas: int

    @property
    def well(self) -> bool:
        """Whether every job was done, once."""
        return self.jobs_lost == 0 and self.duplicate_effects == 0

    def as_json(self) -> dict[str, object]:
        """The figures as one JSON object."""
        return asdict(self)


def show(console: Console, figures: Figures, account: Account, verdict: OutageVerdict | None) -> None:
    """Print the tables: every kind of effect, then the figures."""
    console.print()
    effects = Table(title="What the jobs left behind", title_justify="left", title_style="bold")
    for name, justify in (
        ("effect", "left"),
        ("jobs", "right"),
        ("done", "right"),
        ("lost", "right"),
        ("twice", "right"),
    ):
        effects.add_column(name, justify=justify)  # type: ignore[arg-type]  # a Literal, widened by the loop
    for tally in account.tallies:
        effects.add_row(
            tally.kind, *(str(n) for n in (tally.expected, tally.seen)), _bad(tally.lost), _bad(tally.twice)
        )
    console.print(effects)
    console.print()
    table = Table(title="The run", title_justify="left", title_style="bold", show_header=False)
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in _rows(figures, verdict):
        table.add_row(name, value)
    console.print(table)


def _rows(figures: Figures, verdict: OutageVerdict | None) -> Sequence[tuple[str, str]]:
    rows = [
        ("jobs in", str(figures.jobs_enqueued)),
        ("jobs done", str(figures.jobs_completed)),
        ("jobs lost", _bad(figures.jobs_lost)),
        ("done twice", _bad(figures.duplicate_effects)),
        ("busy workers killed by scaling", _bad(figures.busy_workers_killed)),
        ("peak replicas, all pools", str(figures.peak_replicas)),
        ("replicas at the end", str(figures.final_replicas)),
        ("first job enqueued to first replica", duration(figures.seconds_to_first_replica)),
        ("first job enqueued to first job started", duration(figures.seconds_to_first_job)),
        ("longest wait of a job", duration(figures.max_wait_s)),
    ]
    if verdict is not None:
        rows.append(
            ("sizes held while Redis was away", "yes" if not verdict.shrunk else f"no: {', '.join(verdict.shrunk)}")
        )
        polls = verdict.polls_to_recover
        rows.append(("polls until Redis was read again", "never" if polls is None else str(polls)))
    return rows


def _bad(number: int) -> str:
    return f"[bold red]{number}[/]" if number else "[green]0[/]"
