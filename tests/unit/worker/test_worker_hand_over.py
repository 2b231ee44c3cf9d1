"""When fetched jobs are handed to the children: at once, whatever order kombu's event loop calls its ticks in."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from workerpool_worker.parent.fetch import LONGEST_PAUSE_S, SHORTEST_PAUSE_S, SafeFetch

pytestmark = pytest.mark.unit


class Fetching(SafeFetch):
    """The real decisions, with so many jobs to be had and so much room."""

    def __init__(self, *, jobs: int, room: int) -> None:
        self.jobs, self.room, self.told = jobs, room, list[str]()
        channel: Any = SimpleNamespace(qos=SimpleNamespace(can_consume=lambda: self.room > 0))
        super().__init__(channel, lambda: self.told.append("hand over"), free_slot=lambda: None, max_bytes=1000)

    def _fetch(self) -> bool:
        if not self.jobs:
            return False
        self.jobs, self.room = self.jobs - 1, self.room - 1
        self.told.append("fetch")
        return True


@pytest.mark.parametrize(
    ("jobs", "room", "told"),
    [
        (0, 1, []),
        (1, 1, ["fetch", "hand over"]),
        (1, 2, ["fetch", "hand over"]),
        (5, 2, ["fetch", "fetch", "hand over"]),
        (5, 0, []),
    ],
)
def test_what_was_fetched_is_handed_over_before_the_loop_sleeps(jobs: int, room: int, told: list[str]) -> None:
    fetching = Fetching(jobs=jobs, room=room)
    fetching._start()
    assert fetching.told == told


def test_looks_are_close_together_while_there_are_jobs_and_further_apart_when_there_are_none() -> None:
    fetching = Fetching(jobs=1, room=5)
    assert fetching.pause_s() == LONGEST_PAUSE_S
    fetching._start()
    pauses_s = [fetching.pause_s() for _ in range(10)]
    assert pauses_s[0] < 2 * SHORTEST_PAUSE_S
    assert pauses_s == sorted(pauses_s)
    assert pauses_s[-1] == LONGEST_PAUSE_S
