"""A real Redis for the tests: one server a session, emptied for each test that asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from workerpool_operator.local.redis_server import RedisServer


@pytest.fixture(scope="session")
def redis_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """The server of the session; tests want ``redis_server``, which is empty."""
    with RedisServer(tmp_path_factory.mktemp("redis"), append_fsync="no") as server:
        yield server


@pytest.fixture
def redis_server(redis_session: RedisServer) -> Iterator[RedisServer]:
    """The server of the session, emptied, running again if a test stopped it."""
    redis_session.start()
    with redis.Redis.from_url(redis_session.url) as client:
        client.flushall()
    yield redis_session
    redis_session.start()


@pytest.fixture
def redis_client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """A client of the empty server, database 0, replies as text."""
    with redis.Redis.from_url(redis_server.url, decode_responses=True) as client:
        yield client


@pytest.fixture
def make_redis(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """Start a server of this test's own: ``make_redis(password="x", config=[...])``."""
    servers: list[RedisServer] = []

    def make(**options: object) -> RedisServer:
        folder = tmp_path / f"redis-{len(servers)}"
        server = RedisServer(folder, **options)  # type: ignore[arg-type]
        servers.append(server)
        return server.start()

    yield make
    for server in servers:
        server.stop()
