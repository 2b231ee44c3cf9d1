from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.report.records import AWAY, EMAIL, make_notice, make_record
from workerpool_operator.core.decision import Reason
from workerpool_operator.kube import logs
from workerpool_operator.kube.logs import DecisionLines
from workerpool_operator.ports import Outcome, OutcomeKind

pytestmark = pytest.mark.unit


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in logs._NEVER_DEBUG}
    stream = io.StringIO()
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


def _lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_what_it_is_about(stream: io.StringIO) -> None:
    logs.configure(stream=stream)
    logging.getLogger("workerpool_operator.x").info("scaled\nit", extra=logs.about(EMAIL, reason="WorkWaiting"))
    (line,) = _lines(stream)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "workerpool_operator.x",
        "message": "scaled\nit",
        "namespace": "default",
        "pool": "email",
        "reason": "WorkWaiting",
    }


def test_kopfs_lines_name_the_pool_too(stream: io.StringIO) -> None:
    logs.configure(stream=stream)
    ref = {"kind": "WorkerPool", "name": "email", "namespace": "shop"}
    logging.getLogger("kopf.objects").warning("seen", extra={"k8s_ref": ref})
    logging.getLogger("kopf.objects").warning("seen", extra={"k8s_ref": {"kind": "Pod", "name": "x"}})
    first, second = _lines(stream)
    assert (first["namespace"], first["pool"]) == ("shop", "email")
    assert second["Pod"] == "x"


def test_text_lines(stream: io.StringIO) -> None:
    logs.configure(json_lines=False, level="WARNING", stream=stream)
    logger = logging.getLogger("workerpool_operator.x")
    logger.info("not shown")
    logger.warning("held", extra=logs.about(EMAIL, reason="Failed"))
    logger.warning("plain")
    first, second = stream.getvalue().splitlines()
    assert first.endswith("WARNING workerpool_operator.x default/email: [Failed] held")
    assert second.endswith("WARNING workerpool_operator.x plain")


@pytest.mark.parametrize("json_lines", [True, False])
def test_an_exception_is_part_of_its_line(stream: io.StringIO, json_lines: bool) -> None:
    logs.configure(json_lines=json_lines, stream=stream)
    try:
        raise ValueError("redis://:s3cret@host/0 is wrong")  # noqa: TRY301
    except ValueError:
        logging.getLogger("x").exception("it failed")
    assert "ValueError" in stream.getvalue()
    assert "s3cret" not in stream.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        "redis://user:s3cret@host:6379/0",
        "rediss://:a/b@s3cret@host",
        "Authorization: Bearer s3cret.s3cret.s3cret",
        "{'Authorization': 'Basic s3crets3cret=='}",
        'password="s3cret"',
        "{'password': 's3cret', 'x': 1}",
        "token=s3cret",
    ],
)
def test_what_looks_like_a_secret_is_not_written(stream: io.StringIO, text: str) -> None:
    logs.configure(stream=stream)
    logging.getLogger("x").warning("cannot use %s", text, extra={"reason": text})
    assert "s3cret" not in stream.getvalue()
    assert "***" in stream.getvalue()


@pytest.mark.parametrize("text", ["the token was refused", "redis://host:6379/0 is away", "mail to a@b.example"])
def test_what_is_no_secret_is_left_alone(text: str) -> None:
    assert logs.without_secrets(text) == text


def test_debug_lines_of_libraries_stay_off(stream: io.StringIO) -> None:
    logs.configure(level="DEBUG", stream=stream)
    logging.getLogger("kubernetes.client.rest").debug("response body: s3cret")
    logging.getLogger("workerpool_operator.x").debug("ours")
    assert [line["message"] for line in _lines(stream)] == ["ours"]


def test_decisions_are_logged_when_the_size_changes_and_troubles_when_they_begin_and_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    sink = DecisionLines()
    refused = Outcome(kind=OutcomeKind.FAILED, message="no")
    sink.record(make_record())
    sink.record(make_record(target=4, reason=Reason.WORK_WAITING, message="38 wait"))
    for _ in range(3):
        sink.record(make_record(ready=AWAY, running=AWAY, current=4))
    for _ in range(2):
        sink.record(make_record(current=4, target=8, outcome=refused))
    sink.record(make_record(current=4))
    sink.record(make_record(current=4))
    sink.notice(make_notice())
    assert caplog.messages == [
        "scaled 0 -> 4: 38 wait",
        AWAY.message,
        "scaling failed: no",
        "everything can be read and scaled again",
        "exited with 1",
    ]
    assert [getattr(record, "reason", "") for record in caplog.records][:2] == ["WorkWaiting", "Unreachable"]
    sink.record(make_record(ready=AWAY, running=AWAY))
    sink.forget(EMAIL)
    caplog.clear()
    sink.record(make_record())
    assert not caplog.messages
