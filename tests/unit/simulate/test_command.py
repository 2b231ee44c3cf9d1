"""``workerpool simulate`` as people and programs use it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from workerpool_operator.cli import main

pytestmark = pytest.mark.unit

POOL = """
apiVersion: workerpool.dev/v1alpha1
kind: WorkerPool
metadata: {name: NAME, namespace: shop}
spec:
  queues: [{name: email}]
  maxReplicas: 20
  scaling: {queueLatencySeconds: 30}
  worker: {}
"""
KEYS = [
    "replica_seconds",
    "work_seconds",
    "wait_p50_s",
    "wait_p95_s",
    "wait_p99_s",
    "within_target",
    "scale_events",
    "pods_started",
    "busy_kills",
]


@pytest.fixture
def pool(tmp_path: Path) -> str:
    return written(tmp_path / "pool.yaml", POOL.replace("NAME", "email"))


def written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def simulate(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["simulate", *arguments])


def test_a_budget_is_said_not_to_be_simulated(tmp_path: Path) -> None:
    text = POOL.replace("NAME", "email").replace("30}", "30, budget: {name: db, maxReplicas: 3}}")
    files = ("-f", written(tmp_path / "pool.yaml", text))
    result = simulate(*files, "--trace", "poisson(rate=1,hours=0.05)", "--job-seconds", "2", "--against", "static")
    assert result.exit_code == 0, result.output
    assert "budget db is not simulated: the pool is alone, and gets all that it asks for" in result.output


def test_json_is_the_contract(pool: str) -> None:
    arguments = (
        "-f",
        pool,
        "--trace",
        "poisson(rate=1,hours=0.3)",
        "--job-seconds",
        "lognormal(mean=2,cv=1)",
        "--json",
    )
    result = simulate(*arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    answer = json.loads(result.stdout)
    assert list(answer["policies"]) == ["workerpool", "keda", "keda-tuned", "hpa", "static", "oracle"]
    assert all(list(policy) == KEYS for policy in answer["policies"].values())
    work = {policy["work_seconds"] for policy in answer["policies"].values()}
    assert len(work) == 1
    assert answer["policies"]["workerpool"]["replica_seconds"] >= work.pop()
    assert answer["policies"]["oracle"]["wait_p99_s"] is None
    assert simulate(*arguments).stdout == result.stdout
    assert json.loads(simulate(*arguments, "--seed", "2").stdout)["policies"] != answer["policies"]


def test_table_and_picture(pool: str, tmp_path: Path) -> None:
    trace = written(tmp_path / "load.csv", "timestamp,count\n" + "".join(f"{60 * n},{n % 7}\n" for n in range(40)))
    picture = tmp_path / "out.png"
    result = simulate(
        "-f", pool, "--trace", trace, "--speedup", "2", "--scale", "3", "--job-seconds", "4",
        "--against", "keda,static,oracle", "--plot", str(picture),
    )  # fmt: skip
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0].startswith("pool email: ")
    assert [line.split()[0] for line in lines[3:8]] == ["policy", "workerpool", "keda", "static", "oracle"]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_what_was_assumed_is_said(tmp_path: Path) -> None:
    text = POOL.replace("NAME", "email").replace("queueLatencySeconds: 30", "backlogPerReplica: 10")
    pool = written(tmp_path / "pool.yaml", text.replace("worker: {}", "deploymentRef: {name: mailer}"))
    result = simulate("-f", pool, "--trace", "poisson(rate=1,hours=0.1)", "--job-seconds", "1", "--against", "")
    assert result.exit_code == 0
    assert "30 s taken (--target-seconds)" in result.stdout
    assert "1 taken (--slots)" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--trace", "nothere.csv", "--job-seconds", "2"), "nothere.csv: cannot be read: No such file"),
        (("--trace", "poisson(rate=1)", "--job-seconds", "two"), "--job-seconds: there is no distribution 'two'"),
        (("--trace", "poisson(rate=1)", "--job-seconds", "2", "--against", "keda,hap"), "no policy 'hap'"),
        (("--trace", "poisson(rate=1)", "--job-seconds", "2", "--pool", "sms"), "no pool 'sms'; there are email"),
        (("--trace", "poisson(rate=1)", "--job-seconds", "2", "--plot", "/no/such/out.png"), "does not exist"),
        (("--trace", "poisson(rate=1)", "--job-seconds", "2", "--plot", "out.txt"), "name it .png"),
        (("--trace", "poisson(rate=0)", "--job-seconds", "2"), "no job arrives"),
        (("--trace", "poisson(rate=9e9)", "--job-seconds", "2"), "jobs are too many"),
        (("--trace", "poisson(rate=1)", "--job-seconds", "2", "--startup-seconds", "-5"), "--startup-seconds"),
    ],
)
def test_bad_input_is_one_line(pool: str, arguments: tuple[str, ...], message: str) -> None:
    result = simulate("-f", pool, *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("workerpool simulate: ")
    assert message in result.stderr


@pytest.mark.parametrize("option", ["--scale", "--speedup", "--window-seconds", "--rate", "--target-seconds"])
@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf"])
def test_factors_are_above_zero(pool: str, option: str, value: str) -> None:
    result = simulate("-f", pool, "--trace", "poisson(rate=1)", "--job-seconds", "2", option, value)
    assert result.exit_code == 2
    assert "must be a number above 0" in result.stderr


def test_several_pools_ask_which(tmp_path: Path) -> None:
    text = POOL.replace("NAME", "email") + "---" + POOL.replace("NAME", "order")
    result = simulate("-f", written(tmp_path / "pools.yaml", text), "--trace", "poisson(rate=1)", "--job-seconds", "2")
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert "several pools (email, order): say which with --pool" in result.stderr


def test_schedule_of_the_pool_counts(tmp_path: Path) -> None:
    schedules = "schedules: [{name: rush, start: '0 0 * * *', end: '30 0 * * *', timeZone: UTC, minReplicas: 5}]"
    text = POOL.replace("NAME", "email").replace("queueLatencySeconds: 30", f"queueLatencySeconds: 30, {schedules}")
    with_it = written(tmp_path / "with.yaml", text)
    without = written(tmp_path / "without.yaml", POOL.replace("NAME", "email"))
    rest = ("--trace", "poisson(rate=0.05,hours=1)", "--job-seconds", "1", "--against", "", "--json")
    cost = [
        json.loads(simulate("-f", file, *rest).stdout)["policies"]["workerpool"]["replica_seconds"]
        for file in (with_it, without)
    ]
    # from midnight of the run's first day on, five replicas for half an hour
    assert cost[0] - cost[1] > 5 * 1_800 * 0.8
