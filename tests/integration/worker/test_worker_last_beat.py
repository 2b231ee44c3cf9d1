"""A real worker that takes no more jobs says at once that its last one ended."""

from __future__ import annotations

import base64
import json
import time
from itertools import pairwise
from typing import Any

import pytest
import redis

from tests.integration.worker.bench import Bench
from workerpool_operator.queues.celery import CeleryControl
from workerpool_worker.models import Payment

pytestmark = pytest.mark.integration
NAME = "shop-1@here"
EVERY_S = 2.0


async def test_the_end_of_the_last_job_is_told_out_of_turn(bench: Bench) -> None:
    control = CeleryControl(bench.url)
    with redis.Redis.from_url(bench.url) as client, client.pubsub(ignore_subscribe_messages=True) as ears:
        ears.subscribe("/0.celeryev/worker.heartbeat")
        heard: list[tuple[float, dict[str, Any]]] = []

        def until_active(count: int) -> None:
            deadline_s = time.monotonic() + 30.0
            while not heard or heard[-1][1]["active"] != count:
                assert time.monotonic() < deadline_s, bench.logs()
                message = ears.get_message(timeout=1.0)
                if message is not None:
                    event = json.loads(base64.b64decode(json.loads(message["data"])["body"]))
                    heard.append((event["timestamp"], event))

        # longer than the time between two heartbeats, and no multiple of it
        bench.start(WORKERPOOL_WORKER_NAME=NAME, WORKERPOOL_QUEUES="payment", SANDBOX_LATENCY_MS=5_000).ready()
        until_active(0)
        bench.producer.send(Payment(id="p1", amount_minor=100))
        until_active(1)
        assert await control.cancel({NAME: {"payment"}}, key_prefix="") is None
        until_active(0)
        last_s, before_s = heard[-1][0], heard[-2][0]
        heard.append((0.0, {"active": -1}))
        until_active(0)
        await control.close()
    times = [before_s, last_s, heard[-1][0]]
    in_turn = [later - sooner >= EVERY_S - 0.05 for sooner, later in pairwise(times)]
    assert in_turn != [True, True], f"it was told with the next heartbeat: {times}"
