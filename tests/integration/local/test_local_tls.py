"""``workerpool local`` with a Redis behind TLS: what the operator trusts, its workers trust."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.local_run import LocalRun
from tests.support.tls import TlsFront, TlsProxy
from tests.support.waiting import eventually
from workerpool_operator.local.redis_server import RedisServer
from workerpool_worker.effects import EffectsReader
from workerpool_worker.models import Payment
from workerpool_worker.producer import Producer

pytestmark = pytest.mark.integration

POOL = """
apiVersion: workerpool.dev/v1alpha1
kind: WorkerPool
metadata: {name: pay}
spec:
  broker:
    urlSecretRef: {name: redis, key: url}
    caSecretRef: {name: redis, key: ca}
  queues: [{name: payment}]
  maxReplicas: 1
  worker: {}
"""


def test_workers_get_the_authority_of_the_pool(tmp_path: Path, redis_server: RedisServer) -> None:
    database = f"sqlite:///{tmp_path / 'shop.db'}"
    with TlsFront(TlsProxy(redis_server.port)) as front:
        env = {
            "WORKERPOOL_SECRET_REDIS_URL": f"rediss://localhost:{front.port}/0",
            "WORKERPOOL_SECRET_REDIS_CA": front.proxy.ca_pem,
            "DATABASE_URL": database,
        }
        with Producer(redis_server.url) as producer, LocalRun(folder=tmp_path, pools=POOL, env=env) as run:
            producer.send(Payment(id="p1", amount_minor=100))
            reader = EffectsReader(database)
            try:
                eventually(
                    lambda: [entry.payment for entry in reader.ledger_entries()] == ["p1"], 60, "a charge over TLS"
                )
            finally:
                reader.close()
            assert run.stop() == 0
