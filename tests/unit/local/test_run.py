"""What the views say while local mode ends."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from workerpool_operator.local.run import _drained
from workerpool_operator.report.board import Board, Progress

pytestmark = pytest.mark.unit


async def test_who_waits_for_workers_to_finish_sees_how_many_are_left() -> None:
    board, seen, scaler = Board(), asyncio.Queue[Progress | None](), SimpleNamespace(processes=3)
    board.listen(lambda: seen.put_nowait(board.progress))
    end = asyncio.Event()

    async def drain() -> int:
        await end.wait()
        scaler.processes = 0
        return 1

    world: Any = SimpleNamespace(scaler=scaler, drain=drain)
    async with asyncio.timeout(20):
        drained = asyncio.create_task(_drained(world, board))
        first = await seen.get()
        scaler.processes = 1
        second = await seen.get()
        end.set()
        assert await drained == 1
    assert first is not None
    assert second is not None
    assert first.text.startswith("stopping: 3 of 3 workers left")
    assert (second.text[:29], second.done, second.total) == ("stopping: 1 of 3 workers left", 2, 3)
    assert board.progress is not None
    assert board.progress.text.startswith("stopped")
