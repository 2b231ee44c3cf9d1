"""A delayed job and ``workerpool local``, with the bundled worker: at zero, woken in time, done, at zero again."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import redis

from tests.support.local_run import LocalRun, pool_yaml
from tests.support.waiting import eventually
from workerpool_operator.local.redis_server import RedisServer
from workerpool_worker.effects import EffectsReader
from workerpool_worker.messages import keys
from workerpool_worker.messages.delayed import add
from workerpool_worker.models import Payment
from workerpool_worker.producer import Producer

pytestmark = pytest.mark.integration
LEAD_S = 5.0
DUE_IN_S = 9.0


def charged(folder: Path) -> list[str]:
    reader = EffectsReader(f"sqlite:///{folder / 'shop.db'}")
    try:
        return [entry.payment for entry in reader.ledger_entries() if entry.kind == "charge"]
    finally:
        reader.close()


@pytest.mark.parametrize("in_s", [DUE_IN_S, -60.0], ids=["comes due", "long past due"])
def test_a_pool_at_zero_wakes_for_a_delayed_job_and_does_it_once(
    tmp_path: Path, redis_server: RedisServer, redis_client: redis.Redis, in_s: float
) -> None:
    env = {
        "BROKER_URL": redis_server.url,
        "DATABASE_URL": f"sqlite:///{tmp_path / 'shop.db'}",
        "SANDBOX_LATENCY_MS": "10",
        "SMTP_PORT": "1",
    }
    with Producer(redis_server.url) as producer:
        producer.payment(Payment(id="p1", amount_minor=100))
    message = redis_client.rpop("payment")
    assert isinstance(message, bytes | str)
    with LocalRun(folder=tmp_path, pools=pool_yaml("payment", url=redis_server.url), env=env) as run:
        run.wait_decision(lambda one: one["target"] == 0, what="at zero")
        due_s = time.time() + in_s
        text = message.decode() if isinstance(message, bytes) else message
        add(redis_client, "payment", tag="late", list_key="payment", message=text, due_s=due_s)
        eventually(lambda: charged(tmp_path), within_s=40, what="the delayed job done")
        done_s = time.time()
        run.wait_decision(lambda one: (one["current"], one["target"]) == (0, 0), what="back at zero")
        assert run.stop() == 0
    assert charged(tmp_path) == ["p1"]
    assert redis_client.exists(keys.delayed("payment"), keys.delayed_messages("payment")) == 0
    decisions = run.decisions()
    first = next(one for one in decisions if one["target"] > 0)
    if in_s > 0:
        assert {one["scheduled"] for one in decisions if one["time"] < first["time"]} == {0, 1}
        assert (first["reason"], first["scheduled"]) == ("DueWork", 1)
        assert due_s - LEAD_S - 0.1 <= first["time"] <= due_s - LEAD_S + 2
        assert done_s >= due_s
    else:
        assert (first["reason"], first["ready"]) == ("WorkWaiting", 1)
        assert first["oldest_job_s"] == pytest.approx(60, abs=5)
