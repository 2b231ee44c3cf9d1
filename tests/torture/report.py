"""What a person sees: a line that moves while it runs, and the verdict at the end."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence

from tests.torture.chaos import Event
from tests.torture.facts import Check
from tests.torture.plan import Item
from tests.torture.session import Progress

_PLAIN_EVERY_S = 30.0
_SHOWN = 8


class Teller:
    """Writes the progress: one line that is written over on a terminal, one every half minute elsewhere."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self._told_s = float("-inf")
        self._terminal = sys.stdout.isatty()

    def __call__(self, progress: Progress) -> None:
        """Tell it."""
        now = time.monotonic()
        if not self._terminal and now - self._told_s < _PLAIN_EVERY_S:
            return
        self._told_s = now
        at = progress.places
        minutes, seconds = divmod(int(now - self._began_s), 60)
        line = (
            f"{minutes:02d}:{seconds:02d} {progress.phase}: {progress.sent} sent, {progress.done} orders done, "
            f"{at.waiting} waiting, {at.unacked} running, {at.delayed} delayed, {at.dead} dead, "
            f"{progress.workers} workers, {progress.harm} times harmed"
        )
        sys.stdout.write(f"\r{line}\x1b[K" if self._terminal else f"{line}\n")
        sys.stdout.flush()

    def end(self) -> None:
        """Leave the line."""
        if self._terminal:
            sys.stdout.write("\n")


def show(checks: Sequence[Check], items: Iterable[Item], events: Iterable[Event], *, seconds: float) -> str:
    """The tables of the verdict."""
    lines = ["", f"| sent in {seconds:.0f} s | number |", "|---|--:|"]
    lines += [f"| {kind} | {count} |" for kind, count in Counter(str(item.kind) for item in items).most_common()]
    lines += ["", "| done to them | times |", "|---|--:|"]
    lines += [f"| {harm} | {count} |" for harm, count in Counter(event.harm for event in events).most_common()]
    lines += ["", "| what must hold | looked at | wrong | |", "|---|--:|--:|---|"]
    lines += [
        f"| {check.name} | {check.looked_at} | {len(check.wrong)} | {'ok' if check.right else 'WRONG'}"
        f"{f': {check.note}' if check.note else ''} |"
        for check in checks
    ]
    for check in checks:
        if not check.right:
            lines += ["", f"{check.name}:", *(f"  {text}" for text in check.wrong[:_SHOWN])]
            if len(check.wrong) > _SHOWN:
                lines.append(f"  and {len(check.wrong) - _SHOWN} more")
    return "\n".join(lines)
