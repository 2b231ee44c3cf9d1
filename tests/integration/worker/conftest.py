from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.worker.bench import Bench
from tests.support.smtp import Mailbox, mailbox
from workerpool_operator.local.redis_server import RedisServer

__all__ = ["mailbox"]


@pytest.fixture
def bench(redis_server: RedisServer, mailbox: Mailbox, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(redis_server.url, tmp_path, mailbox.port)
    yield made
    made.close()


@pytest.fixture
def bench_on(mailbox: Mailbox, tmp_path: Path) -> Iterator[Callable[[RedisServer], Bench]]:
    made: list[Bench] = []

    def make(server: RedisServer) -> Bench:
        made.append(Bench(server.url, tmp_path, mailbox.port))
        return made[-1]

    yield make
    for one in made:
        one.close()
