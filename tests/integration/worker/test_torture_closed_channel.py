"""A channel whose connection is closed says so in a way that kombu and Celery understand."""

from __future__ import annotations

from typing import Any

import pytest
from kombu import Connection
from redis.exceptions import ConnectionError as RedisConnectionError

from workerpool_operator.local.redis_server import RedisServer
from workerpool_worker.messages.transport import Transport

pytestmark = pytest.mark.integration


def test_what_comes_late_meets_a_connection_error_and_not_one_that_ends_the_worker(redis_server: RedisServer) -> None:
    connection: Any = Connection(redis_server.url, transport=Transport)
    channel = connection.default_channel
    with channel.conn_or_acquire() as client:
        assert client.ping()
    connection.close()
    with pytest.raises(RedisConnectionError, match="closed"), channel.conn_or_acquire():
        pass
