"""The bytes of remote control are those that Celery's own client sends, and kombu makes of them what was meant."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from celery import Celery
from hypothesis import given
from hypothesis import strategies as st
from kombu import pidbox

from workerpool_operator.queues.celery.mailbox import REPLIES, answer_in, channel, command, queue_names

pytestmark = pytest.mark.unit


class _Exchange:
    """Takes the place of kombu's channel: keeps what would be published."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def publish(self, body: Any, **options: Any) -> None:
        self.sent.append({"body": body, **options})


def by_celery(method: str, arguments: dict[str, Any], workers: list[str]) -> tuple[str, dict[str, Any]]:
    """The exchange and the body that Celery's own client publishes."""
    app: Any = Celery(broker="memory://", set_as_current=False)
    producer = _Exchange()
    app.control.mailbox._publish(method, arguments, destination=workers, producer=producer, channel=object())
    return producer.sent[0]["exchange"], producer.sent[0]["body"]


def by_us(raw: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    message = json.loads(raw)
    return message, json.loads(base64.b64decode(message["body"]))


@pytest.mark.parametrize("method", ["cancel_consumer", "add_consumer"])
def test_a_command_is_what_celery_itself_sends(method: str) -> None:
    exchange, wanted = by_celery(method, {"queue": "mail"}, ["celery@a", "celery@b"])
    message, body = by_us(command(method, {"queue": "mail"}, ["celery@b", "celery@a"], tag="t"))
    assert body == wanted
    assert message["properties"]["delivery_info"] == {"exchange": exchange, "routing_key": ""}
    assert channel("shop:", 3) == f"shop:/3.{exchange}"


def test_a_question_names_a_list_to_answer_into_that_nobody_has_to_make() -> None:
    """kombu's mailbox obeys it, and answers through the exchange without a name, where a routing key is a queue."""
    _, body = by_us(command("active_queues", {}, ["celery@a"], tag="t", ticket="4711"))
    box = pidbox.Mailbox("celery", type="fanout")
    node: Any = box.Node("celery@a", handlers={"active_queues": lambda _state: [{"name": "mail"}]})
    said: list[dict[str, Any]] = []
    node.reply = lambda data, **where: said.append({"data": data, **where})
    node.handle_message(body)
    answer = {"celery@a": [{"name": "mail"}]}
    assert said == [{"data": answer, "exchange": "", "routing_key": REPLIES, "ticket": "4711"}]
    box.Node("celery@b", handlers={}).handle_message(body)  # not for it: no such command would be a KeyError


def an_answer(body: object, ticket: object = "4711") -> bytes:
    text = base64.b64encode(json.dumps(body).encode()).decode()
    return json.dumps({"body": text, "headers": {"ticket": ticket, "clock": 1}}).encode()


def test_answers_are_read_and_those_to_others_left_alone() -> None:
    said = {"celery@a": [{"name": "mail", "durable": True}, {"name": "sms"}], "celery@b": []}
    raw = an_answer(said)
    assert answer_in(raw, ["4710", "4711"]) == ("4711", said)
    assert answer_in(raw, ["4712"]) is None
    assert queue_names(said["celery@a"]) == frozenset({"mail", "sms"})
    assert queue_names([]) == frozenset()


@pytest.mark.parametrize("said", [[{"exchange": "mail"}], ["mail"], [None], [7]])
def test_what_names_no_queues_is_none(said: list[Any]) -> None:
    assert queue_names(said) is None


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'{"headers": {"ticket": "4711"}}',
        b'{"headers": {"ticket": "4711"}, "body": 1}',
        an_answer({"celery@a": {"error": "boom"}}),
        an_answer(["celery@a"]),
        an_answer({"celery@a": [], "celery@b": "none"}),
        an_answer({"celery@a": []}, ticket=None),
        an_answer({"celery@a": []}, ticket=["4711"]),
        None,
        7,
    ],
)
def test_what_is_no_answer_is_none(raw: object) -> None:
    assert answer_in(raw, {"4711": {}}) is None


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(raw: bytes) -> None:
    assert answer_in(raw, ["4711"]) is None
