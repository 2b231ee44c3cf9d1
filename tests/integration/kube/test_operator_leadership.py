"""Two operators in one namespace: one writes, the other takes over, nothing is lost and nothing is done twice."""

from __future__ import annotations

import datetime as dt
import json
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis

from tests.support.control_plane.api import Api, path
from tests.support.control_plane.local import free_port
from tests.support.operator_process import OperatorProcess, worker_pool
from tests.support.waiting import eventually
from workerpool_operator.local.redis_server import RedisServer
from workerpool_worker.models import WelcomeEmail
from workerpool_worker.producer import Producer

pytestmark = pytest.mark.integration

TAKEOVER_S = 10.0


@dataclass(kw_only=True)
class Operators:
    """Operator processes of one namespace, each with a port and a log of its own."""

    kubeconfig: Path
    namespace: str
    folder: Path
    api: Api
    all: dict[str, OperatorProcess] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

    def start(self, name: str) -> OperatorProcess:
        self.ports[name] = port = free_port()
        self.all[name] = OperatorProcess(
            kubeconfig=self.kubeconfig,
            namespace=self.namespace,
            folder=self.folder,
            name=name,
            arguments=("--port", str(port)),
        )
        return self.all[name].start()

    def says(self, name: str, page: str = "readyz") -> tuple[int, str]:
        """Status and text of one of its pages; 0 while nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[name]}/{page}", timeout=2) as answer:
                return answer.status, answer.read().decode().strip()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode().strip()
        except OSError:
            return 0, ""

    def leading(self, name: str) -> bool:
        return self.says(name) == (200, "leader")

    def standing_by(self, name: str) -> bool:
        return self.says(name) == (200, "standby")

    def lines(self, name: str) -> list[dict[str, str]]:
        """Its log; what is written this very moment is not a line yet."""
        lines = self.all[name].log.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]

    def scaled(self, name: str) -> list[tuple[float, str]]:
        """When it changed a size, in Unix seconds, and how."""
        return [
            (dt.datetime.fromisoformat(line["time"]).timestamp(), line["message"].partition(":")[0])
            for line in self.lines(name)
            if line["message"].startswith("scaled ")
        ]

    def size(self, pool: str) -> int | None:
        found = self.api.find(path("deployments", self.namespace, pool))
        return None if found is None else int(found["spec"]["replicas"])

    def generation(self, pool: str) -> int:
        return int(self.api.get(path("deployments", self.namespace, pool))["metadata"]["generation"])


@pytest.fixture
def operators(operator_kubeconfig: Path, namespace: str, tmp_path: Path, api: Api) -> Iterator[Operators]:
    # a lease that is there and free, as the chart brings one: no waiting for a leader that nobody knows of
    where = {"name": "workerpool-operator", "namespace": namespace}
    api.create({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": where})
    found = Operators(kubeconfig=operator_kubeconfig, namespace=namespace, folder=tmp_path, api=api)
    yield found
    for process in found.all.values():
        if process.running:
            process.kill()
        print(process.log.read_text()[-3000:])  # noqa: T201 - shown by pytest when the test fails


@pytest.fixture
def pair(operators: Operators, redis_server: RedisServer) -> Operators:
    """``a`` leads, ``b`` stands by, and a pool of queue ``email`` is at zero."""
    operators.start("a")
    eventually(lambda: operators.leading("a"), 20, "the first leads")
    operators.start("b")
    operators.api.create(worker_pool("email", operators.namespace, redis_server.url))
    eventually(lambda: operators.standing_by("b"), 20, "the second stands by")
    eventually(lambda: operators.size("email") == 0, 20, "a Deployment at zero")
    # created in three applies, of which the last is the one that the pool is run with
    eventually(lambda: _reads(operators, "email"), 20, "the pool's queue is read")
    return operators


def _reads(operators: Operators, pool: str) -> bool:
    found = operators.api.get(path("workerpools", operators.namespace, pool))
    conditions = (found.get("status") or {}).get("conditions") or []
    return any(one["type"] == "BrokerReachable" and one["status"] == "True" for one in conditions)


def enqueue(url: str, count: int) -> None:
    with Producer(url) as producer:
        producer.send_many([WelcomeEmail(id=str(n), customer="Ada", to="ada@example.org") for n in range(count)])


def test_a_killed_leader_is_replaced_and_what_came_meanwhile_is_scaled_for(
    pair: Operators, redis_server: RedisServer
) -> None:
    born = pair.generation("email")
    pair.all["a"].kill()
    killed_s = time.monotonic()
    enqueue(redis_server.url, 58)
    eventually(lambda: pair.size("email") == 6, 15, "six replicas by the other")
    assert time.monotonic() - killed_s < TAKEOVER_S
    assert pair.leading("b")
    assert pair.generation("email") == born + 1, "one write of the size"


def test_a_leader_paused_for_20_s_writes_nothing_when_it_wakes_up(
    pair: Operators, redis_server: RedisServer, redis_client: redis.Redis
) -> None:
    enqueue(redis_server.url, 28)
    eventually(lambda: pair.size("email") == 3, 10, "three replicas by the first")
    before = pair.generation("email")
    pair.all["a"].process.send_signal(signal.SIGSTOP)  # type: ignore[union-attr]
    paused_s, paused_at_s = time.monotonic(), time.time()
    enqueue(redis_server.url, 30)
    eventually(lambda: pair.size("email") == 6, 15, "six replicas by the other")
    assert time.monotonic() - paused_s < TAKEOVER_S
    eventually(lambda: time.monotonic() - paused_s > 20.0, 30, "20 s of pause")
    redis_client.rpush("email", *redis_client.lrange("email", 0, 19))  # more work at the moment of waking up
    pair.all["a"].process.send_signal(signal.SIGCONT)  # type: ignore[union-attr]
    eventually(lambda: pair.standing_by("a"), 5, "the first stands by")
    eventually(lambda: pair.size("email") == 8, 5, "eight replicas by the other")
    redis_client.delete("email")
    eventually(lambda: pair.size("email") == 0, 15, "nobody is needed any more")
    assert [how for _, how in pair.scaled("a")] == ["scaled 0 -> 3"]
    assert [how for _, how in pair.scaled("b")] == ["scaled 3 -> 6", "scaled 6 -> 8", "scaled 8 -> 0"]
    assert all(at_s < paused_at_s for at_s, _ in pair.scaled("a"))
    assert pair.generation("email") == before + 3, "one write of the size each time"


def test_a_leader_that_is_asked_to_stop_hands_over_at_once(pair: Operators, redis_server: RedisServer) -> None:
    born = pair.generation("email")
    stopped_s = time.monotonic()
    pair.all["a"].process.send_signal(signal.SIGTERM)  # type: ignore[union-attr]
    enqueue(redis_server.url, 58)
    eventually(lambda: pair.leading("b"), 10, "the other leads")
    assert time.monotonic() - stopped_s < 3.0
    eventually(lambda: pair.size("email") == 6, 5, "six replicas")
    assert pair.all["a"].process.wait(5) == 0  # type: ignore[union-attr]
    assert time.monotonic() - stopped_s < 6.0
    assert sum(len(pair.scaled(name)) for name in "ab") == 1
    assert pair.generation("email") == born + 1, "one write of the size"
    assert pair.all["b"].stop(within_s=6) == 0


def test_both_killed_a_third_takes_over_and_sizes_are_right(
    pair: Operators, redis_server: RedisServer, redis_client: redis.Redis
) -> None:
    enqueue(redis_server.url, 28)
    eventually(lambda: pair.size("email") == 3, 10, "three replicas by the first")
    for name in "ab":
        pair.all[name].kill()
    enqueue(redis_server.url, 30)
    pair.start("c")
    eventually(lambda: pair.size("email") == 6, 20, "six replicas by the third")
    redis_client.delete("email")
    eventually(lambda: pair.size("email") == 0, 15, "nobody is needed any more")
    assert [how for _, how in pair.scaled("c")] == ["scaled 3 -> 6", "scaled 6 -> 0"]


def test_asked_to_stop_while_it_starts(operators: Operators) -> None:
    """At moments spread over the start, from before it listens until it leads: always in order, and soon."""
    for number, moment in enumerate((_has_a_log, _listens, _has_listed, _leads)):
        name = f"early-{number}"
        process = operators.start(name)
        eventually(lambda moment=moment, name=name: moment(operators, name), 20, moment.__name__, every_s=0.002)  # type: ignore[misc]
        assert process.stop(within_s=6) == 0, (moment.__name__, process.log.read_text())


def _has_a_log(operators: Operators, name: str) -> bool:
    return bool(operators.lines(name)) or _listens(operators, name)


def _listens(operators: Operators, name: str) -> bool:
    return operators.says(name)[0] != 0


def _has_listed(operators: Operators, name: str) -> bool:
    return operators.says(name)[0] == 200


def _leads(operators: Operators, name: str) -> bool:
    return operators.leading(name)
