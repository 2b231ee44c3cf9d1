"""``workerpool explain`` of a local run: by its state folder, by its page, from its log; alive, stopped, killed."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.support.local_run import SCRIPTS, LocalRun, pool_yaml
from tests.support.waiting import eventually
from workerpool_operator.local.explain_socket import explain_socket, live_sockets
from workerpool_operator.local.redis_server import RedisServer
from workerpool_operator.report.last import ExplainPages, LastDecisions

pytestmark = pytest.mark.integration

SOCKETS = Path(".workerpool/explain")


def explain(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(SCRIPTS / "workerpool"), "explain", *arguments]
    env = {"HOME": str(folder), "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False)


def told(folder: Path, *arguments: str) -> dict[str, Any]:
    done = explain(folder, *arguments, "-o", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def curl(url: str) -> str:
    assert url.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - the line above
        return str(answer.read().decode())


def idle_worker(minimum: int = 0, also: str = "") -> dict[str, str]:
    """A worker that takes nothing, so that what waits stays."""
    return {
        "worker": "{command: [sleep, '600'], terminationGracePeriodSeconds: 1}",
        "spec": f"minReplicas: {minimum}{also}",
    }


def test_a_run_is_asked_by_its_state_folder_by_its_page_and_by_its_log(
    tmp_path: Path, make_redis: Callable[..., RedisServer]
) -> None:
    server = make_redis(password="hush-hush")
    broker = "\n  broker: {urlSecretRef: {name: redis, key: url}}"
    pools = pool_yaml("email", **idle_worker(also=broker)) + pool_yaml("sms", **idle_worker(1, also=broker))
    env = {"WORKERPOOL_SECRET_REDIS_URL": server.url}
    with LocalRun(folder=tmp_path, pools=pools, arguments=("--web", "0"), env=env) as run:
        run.wait_decision(lambda d: d["pool"] == "sms" and d["current"] == 1, what="the minimum of a pool")
        with redis.Redis.from_url(server.url) as client:
            client.rpush("email", *["{}"] * 7)
        run.wait_decision(lambda d: d["pool"] == "email" and d["current"] == 4, what="a size for seven jobs")

        found = told(tmp_path, "wp/email")
        assert found["totals"]["ready"] == 7
        assert found["rules"][0]["rule"] == "demand"
        assert found["rules"][0]["after"] == found["decision"]["target"] == 4
        assert 0 <= found["ageSeconds"] < 5
        assert found["toldBy"].startswith("the local run in .workerpool (process ")

        text = explain(tmp_path, "sms")
        assert text.returncode == 0, text.stderr
        assert text.stdout.startswith("default/sms: 1 replica  AtMinimum\n")
        assert "minReplicas holds 1" in text.stdout

        wrong = explain(tmp_path, "emial")
        assert (wrong.returncode, wrong.stdout) == (1, "")
        assert "known are default/email, default/sms" in wrong.stderr

        page = next(line.split()[-1] for line in run.out.splitlines() if line.startswith("live page: "))
        body = curl(page + "explain/default/email")
        assert json.loads(body)["rules"] == found["rules"]
        assert told(tmp_path, "email", "--address", page)["rules"] == found["rules"]
        assert all("hush-hush" not in said for said in (body, text.stdout, json.dumps(found)))
        assert run.stop() == 0
    assert not list((tmp_path / SOCKETS).iterdir())
    logged = told(tmp_path, "email", "--log", "decisions.jsonl")
    assert [rule["rule"] for rule in logged["rules"]] == [rule["rule"] for rule in found["rules"]]
    assert logged["decision"]["target"] == run.decisions("email")[-1]["target"]


def test_the_socket_is_for_its_own_user_and_outlives_a_kill_harmlessly(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    pools = pool_yaml("email", url=redis_server.url, **idle_worker())
    with LocalRun(folder=tmp_path, pools=pools) as run:
        run.wait_decision(lambda d: d["target"] == 0, what="a decision")
        assert (tmp_path / SOCKETS).stat().st_mode & 0o077 == 0
        assert run.process is not None
        run.process.kill()
        run.process.wait()
    (left,) = (tmp_path / SOCKETS).iterdir()
    dead = explain(tmp_path, "email", "--state-dir", ".workerpool")
    assert (dead.returncode, dead.stdout) == (2, "")
    assert "no local run with the state folder .workerpool is alive" in dead.stderr
    with LocalRun(folder=tmp_path, pools=pools) as again:
        again.wait_decision(lambda d: d["target"] == 0, what="a decision")
        (alive,) = (tmp_path / SOCKETS).iterdir()
        assert alive != left
        assert told(tmp_path, "email")["pool"]["name"] == "email"


def test_two_runs_in_one_state_folder_each_answer_for_their_pools(tmp_path: Path, redis_server: RedisServer) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    shared = ("--state-dir", str(tmp_path / "state"))
    email = pool_yaml("email", url=redis_server.url, **idle_worker())
    sms = pool_yaml("sms", url=redis_server.url, **idle_worker())
    with (
        LocalRun(folder=first, pools=email, arguments=shared) as one,
        LocalRun(folder=second, pools=sms, arguments=shared) as two,
    ):
        for run in (one, two):
            eventually(run.decisions, 30, "a decision")
        for name in ("email", "sms"):
            assert told(tmp_path, name, *shared)["pool"]["name"] == name


def test_a_state_folder_whose_name_is_too_long_for_a_socket(tmp_path: Path, redis_server: RedisServer) -> None:
    deep = tmp_path / "/".join(["a-folder-with-a-rather-long-name"] * 5)
    assert len(str(deep)) > 108
    with LocalRun(
        folder=tmp_path,
        pools=pool_yaml("email", url=redis_server.url, **idle_worker()),
        arguments=("--state-dir", str(deep)),
    ) as run:
        run.wait_decision(lambda d: d["target"] == 0, what="a decision")
        assert told(tmp_path, "email", "--state-dir", str(deep))["pool"]["name"] == "email"
        assert "cannot ask this run" not in run.out


async def test_where_there_can_be_no_socket_the_run_goes_on_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    pages = ExplainPages(LastDecisions())
    (tmp_path / "explain").touch()
    async with explain_socket(tmp_path, pages, say=said.append):
        assert live_sockets(tmp_path) == []
    assert "workerpool explain cannot ask this run" in said.pop()
    assert said == []
    # as on a system without /proc, where a long name has no shorter one
    monkeypatch.setattr("workerpool_operator.local.explain_socket.DESCRIPTORS", tmp_path / "no-such-folder")
    deep = tmp_path / "/".join(["a-folder-with-a-rather-long-name"] * 5)
    async with explain_socket(deep, pages, say=said.append):
        assert live_sockets(deep) == []
    assert "too long for a socket" in said[0]
    assert "use a shorter --state-dir" in said[0]
