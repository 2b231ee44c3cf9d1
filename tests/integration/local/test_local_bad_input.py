"""Bad input: one line that names the thing, others keep running, the exit status is not 0."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from tests.support.local_run import SCRIPTS, LocalRun, pool_yaml
from tests.support.waiting import eventually
from workerpool_operator.local.redis_server import RedisServer

pytestmark = pytest.mark.integration

GOOD = pool_yaml("email")


def local(
    folder: Path, text: str, *arguments: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    (folder / "pools.yaml").write_text(text, encoding="utf-8")
    return subprocess.run(
        [SCRIPTS / "workerpool", "local", "-f", "pools.yaml", "--plain", *arguments],
        cwd=folder,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("spec: [1\nb: }", "pools.yaml:2:2: not YAML"),
        ("", "pools.yaml: "),
        (
            pool_yaml("email", spec="maxReplica: 3"),
            "pools.yaml:6: spec.maxReplica: unknown field; did you mean maxReplicas?",
        ),
        (GOOD + GOOD, "metadata.name: a pool of this namespace and name is defined at pools.yaml:3 already"),
        (pool_yaml("email", spec="maxReplicas: 3\n  minReplicas: 5"), "spec.maxReplicas: 3 is less than minReplicas 5"),
        (pool_yaml("email", url="http://x"), "spec.broker.url: its scheme is not one of redis://"),
        (pool_yaml("email", url="redis://:hunter2@127.0.0.1"), "spec.broker.url: holds a password"),
        (pool_yaml("email", url="redis://127.0.0.1:1/0"), "pool default/email: 127.0.0.1:1 refused the connection"),
        (pool_yaml("email", worker="{command: [nosuchcommand]}"), "spec.worker.command: nosuchcommand does not exist"),
        (pool_yaml("email", worker="{command: [./pools.yaml]}"), "spec.worker.command: ./pools.yaml is not executable"),
        (pool_yaml("email", worker="{image: 'mine:1'}"), "spec.worker.image: local mode runs no images; set command"),
        (pool_yaml("email", spec="broker: {layout: RQ}"), "broker.layout: RQ is not supported yet; use Celery"),
    ],
)
def test_a_pool_that_cannot_run_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    done = local(tmp_path, text)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "hunter2" not in done.stderr + done.stdout
    assert not done.stdout


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    done = subprocess.run(
        [SCRIPTS / "workerpool", "local", "-f", "nope.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "workerpool: nope.yaml: there is no such file\n"


def test_a_wrong_password(tmp_path: Path, make_redis: Callable[..., RedisServer]) -> None:
    server = make_redis(password="right")
    pools = pool_yaml("email", spec="broker: {urlSecretRef: {name: redis, key: url}}")
    done = local(tmp_path, pools)
    assert done.returncode == 2
    assert "set the environment variable WORKERPOOL_SECRET_REDIS_URL" in done.stderr
    done = local(tmp_path, pools, env={"WORKERPOOL_SECRET_REDIS_URL": server.url_for(password="canary-wrong")})
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "password" in done.stderr
    assert "canary" not in done.stderr + done.stdout


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def test_a_port_in_use(tmp_path: Path, taken_port: int) -> None:
    for option in ("--web", "--redis-port"):
        done = local(tmp_path, GOOD, option, str(taken_port))
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        assert str(taken_port) in done.stderr
        assert "in use" in done.stderr


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for option, value in (
        ("--state-dir", "file/state"),
        ("--log", "file/log"),
        ("--log", "nowhere/log"),
        ("--log", "."),
    ):
        done = local(tmp_path, GOOD, option, value)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert value.split("/")[0] in done.stderr


def test_a_key_of_the_wrong_type_and_a_missing_command_leave_the_other_pool_running(
    tmp_path: Path, redis_server: RedisServer, redis_client: redis.Redis
) -> None:
    redis_client.set("order", "a string")
    pools = (
        pool_yaml("email", url=redis_server.url, spec="minReplicas: 1")
        + pool_yaml("order", url=redis_server.url)
        + pool_yaml("payment", url=redis_server.url, worker="{command: [nosuchcommand]}")
    )
    with LocalRun(folder=tmp_path, pools=pools) as run:
        eventually(lambda: [d for d in run.decisions("email") if d["current"] == 1], within_s=20, what="email runs")
        assert {d["reason"] for d in run.decisions("order")} == {"BrokerUnreadable"}
        assert run.stop() == 1
    problems = run.err.splitlines()
    assert len(problems) == 2, problems
    assert any("pool default/order" in line and "key order" in line and "list" in line for line in problems)
    assert any("pool default/payment: spec.worker.command: nosuchcommand" in line for line in problems)
