"""The command line: whom it asks, what it refuses, and how it says what went wrong."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.unit.report.records import START_S, make_record
from workerpool_operator.cli import main
from workerpool_operator.core.decision import Reason
from workerpool_operator.explain.command import KUBECTL
from workerpool_operator.explain.logfile import moment_s
from workerpool_operator.ports import PoolKey
from workerpool_operator.report.jsonlog import decision_line

pytestmark = pytest.mark.unit

ROME = dt.timezone(dt.timedelta(hours=1))
NOW = dt.datetime(2026, 11, 22, 18, 0, 0, tzinfo=ROME)


@pytest.fixture(autouse=True)
def nothing_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No local run, no cluster."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TZ", "UTC")
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)


def run(*arguments: str, program: str = "workerpool") -> Result:
    return CliRunner().invoke(main, ["explain", *arguments], prog_name=program)


@pytest.fixture
def log(tmp_path: Path) -> str:
    """Three decisions about one pool, one about another, and a line that is half written."""
    records = [
        make_record(at_s=0, ready=38, target=4, reason=Reason.WORK_WAITING, message="38 waiting"),
        make_record(at_s=1, ready=9, current=4),
        make_record(at_s=5, ready=3, current=4),
        make_record(at_s=9, key=PoolKey(namespace="shop", name="sms")),
    ]
    path = tmp_path / "decisions.jsonl"
    path.write_text("".join(decision_line(record) + "\n" for record in records) + '{"time": 17000', encoding="utf-8")
    return str(path)


def told(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("name", ["email", "wp/email", "workerpool/email", "workerpools.workerpool.dev/email"])
def test_the_last_decision_of_a_log(log: str, name: str) -> None:
    found = told(run(name, "--log", log, "-o", "json"))
    assert found["time"] == START_S + 5
    assert (found["lastChange"]["time"], found["lastChange"]["target"]) == (START_S, 4)
    assert found["toldBy"] == f"the log {log}"


@pytest.mark.parametrize(
    ("at", "ready"),
    [(f"{START_S + 0.5}", 38), (f"{START_S + 4.9}", 9), ("2023-11-14T22:13:21Z", 9), (f"{START_S + 999}", 3)],
)
def test_an_earlier_decision_of_a_log(log: str, at: str, ready: int) -> None:
    assert told(run("email", "--log", log, "--at", at, "-o", "json"))["totals"]["ready"] == ready


def test_as_text_it_has_no_colours_where_there_is_no_terminal(log: str) -> None:
    result = run("email", "--log", log, "--at", f"{START_S}")
    assert result.exit_code == 0
    assert result.stdout.startswith("default/email: 0 -> 4 replicas  WorkWaiting\n38 waiting\n")
    assert "\x1b" not in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("emial", "--log", "LOG"), 1, "has no decision about emial; known are default/email, shop/sms"),
        (("email", "-n", "shop", "--log", "LOG"), 1, "has no decision about shop/email"),
        (("email", "--log", "LOG", "--at", "1"), 1, "has no decision about email until 1970-01-01 00:00:01"),
        (("email", "--log", "LOG", "--at", "noon"), 2, "--at 'noon' is no time"),
        (("email", "--log", "nowhere"), 2, "cannot read nowhere: No such file"),
        (("email", "--log", "/dev/null"), 2, "is no decision log of workerpool local --log: it is empty"),
        (("deploy/email",), 2, "'deploy/email' is no pool: give its name, or wp/NAME"),
        (("email", "--state-dir", "there"), 2, "no local run with the state folder there is alive"),
        (("email", "--address", "127.0.0.1:1"), 2, "http://127.0.0.1:1 cannot be reached: connection refused"),
        (("email", "--address", "http://["), 2, "is no address; it looks like http://127.0.0.1:8080"),
        (("email",), 2, "no local run in .workerpool, so the cluster was asked: there is no kubeconfig"),
        (("email", "--context", "prod"), 2, "there is no kubeconfig"),
    ],
)
def test_what_goes_wrong_is_one_line(log: str, arguments: tuple[str, ...], status: int, says: str) -> None:
    result = run(*(log if argument == "LOG" else argument for argument in arguments))
    assert result.exit_code == status
    assert result.stdout == ""
    assert result.stderr.startswith("workerpool: ")
    assert result.stderr.count("\n") == 1
    assert says in result.stderr


def test_as_a_plugin_of_kubectl_it_asks_the_cluster_only() -> None:
    result = run("wp/email", program=KUBECTL)
    assert result.exit_code == 2
    assert result.stderr.startswith("workerpool: there is no kubeconfig")


def test_ways_of_asking_exclude_each_other() -> None:
    result = run("email", "--log", "x", "--context", "y")
    assert result.exit_code == 2
    assert "either --log or a cluster" in result.stderr
    assert "--at needs --log" in run("email", "--at", "1").stderr


def test_a_line_that_another_version_wrote_is_no_traceback(tmp_path: Path) -> None:
    line = {**json.loads(decision_line(make_record())), "reason": "Whim"}
    (tmp_path / "new.jsonl").write_text(json.dumps(line))
    result = run("email", "--log", "new.jsonl")
    assert result.exit_code == 2
    assert "cannot be understood: ValueError(\"'Whim' is not a valid Reason\")" in result.stderr


@pytest.mark.parametrize(("version", "says"), [(1, "is of another version"), (2, "is newer than this command")])
def test_what_cannot_be_shown_as_text_can_be_had_as_json(
    log: str, monkeypatch: pytest.MonkeyPatch, version: int, says: str
) -> None:
    monkeypatch.setattr("workerpool_operator.explain.run.from_log", lambda *_a, **_k: {"schemaVersion": version})
    result = run("email", "--log", log)
    assert result.exit_code == 2
    assert says in result.stderr
    assert "use -o json" in result.stderr
    assert told(run("email", "--log", log, "-o", "json"))["schemaVersion"] == version


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1795370343", 1795370343.0),
        ("17:59:03", NOW.timestamp() - 57),
        ("18:00:01", NOW.timestamp() + 1 - 86_400),
        ("17:59", NOW.timestamp() - 60),
        ("2026-11-22T16:59:03Z", NOW.timestamp() - 57),
    ],
)
def test_times_as_people_write_them(text: str, seconds: float) -> None:
    assert moment_s(text, now=NOW) == seconds


@pytest.mark.parametrize("text", ["", "nan", "inf", "25:00", "yesterday"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        moment_s(text, now=NOW)
