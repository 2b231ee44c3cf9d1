"""The scaler that the tests of processes as replicas work on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.local_scaler import Bench
from workerpool_operator.local import groups
from workerpool_operator.ports import NoticeKind


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(folder=tmp_path)
    yield bench
    bench.scaler.kill_now()
    await bench.scaler.drain()
    started = [int(notice.message.rpartition(" ")[2]) for notice in bench.said(NoticeKind.REPLICA_STARTED)]
    assert not [pid for pid in started if groups.members(pid)], "a process was left behind"
