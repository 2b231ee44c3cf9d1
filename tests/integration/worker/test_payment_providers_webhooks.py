"""The documentation's example of a webhook, as it stands there."""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from workerpool_operator.local.redis_server import RedisServer
from workerpool_worker.producer import BrokerUnreachableError

pytestmark = pytest.mark.integration

SECRET = "whsec_test"


@pytest.fixture
def application(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("WORKERPOOL_BROKER_URL", redis_server.url)
    monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", SECRET)
    text = (Path(__file__).parents[3] / "docs" / "payments.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(example, names)  # noqa: S102 - the example is ours
    yield names["application"]
    names["producer"].close()


def deliver(application: Callable[..., Any], payload: bytes, *, secret: str = SECRET) -> tuple[str, bytes]:
    now = int(time.time())
    signature = hmac.new(secret.encode(), f"{now}.".encode() + payload, hashlib.sha256).hexdigest()
    environ = {
        "wsgi.input": io.BytesIO(payload),
        "CONTENT_LENGTH": str(len(payload)),
        "HTTP_STRIPE_SIGNATURE": f"t={now},v1={signature}",
    }
    said: list[str] = []
    body = b"".join(application(environ, lambda status, _headers: said.append(status)))
    return said[0], body


def event(payment: str) -> bytes:
    about = {"object": {"metadata": {"payment_id": payment}}}
    return json.dumps({"id": "evt_1", "type": "payment_intent.succeeded", "data": about}).encode()


def test_the_example_of_the_documentation_sends_the_job(application: Any, redis_client: redis.Redis) -> None:
    assert deliver(application, event("p1")) == ("200 OK", b"")
    (message,) = redis_client.lrange("payment", 0, -1)
    headers = json.loads(message)["headers"]
    assert (headers["id"], headers["task"]) == ("verify-p1", "payment.verify")


def test_the_example_refuses_a_stranger_and_does_nothing_about_others(
    application: Any, redis_client: redis.Redis
) -> None:
    status, body = deliver(application, event("p1"), secret="whsec_wrong")
    assert status == "400 Bad Request"
    assert SECRET not in body.decode()
    assert deliver(application, b'{"type": "customer.created"}')[0] == "200 OK"
    assert redis_client.llen("payment") == 0


def test_the_example_lets_stripe_try_again_while_redis_is_away(application: Any, redis_server: RedisServer) -> None:
    redis_server.stop()
    with pytest.raises(BrokerUnreachableError):
        deliver(application, event("p1"))
