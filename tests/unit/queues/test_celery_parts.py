"""The parts of the reader that need no server: messages, lists, held keys, routes, heartbeats, error replies."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest
from hiredis import ReplyError
from hypothesis import given
from hypothesis import strategies as st

from workerpool_operator.core.observation import Cause, JobSeconds, QueueDepth, Unavailable
from workerpool_operator.ports import PoolKey, PoolReading, QueueSource
from workerpool_operator.queues.address import parse_address
from workerpool_operator.queues.celery.heartbeats import Heartbeats, job_seconds
from workerpool_operator.queues.celery.held import HeldKeys, HeldView
from workerpool_operator.queues.celery.lists import WINDOW_JOBS, PriorityList
from workerpool_operator.queues.celery.message import LARGE_BYTES, Message, parse_held, parse_listed
from workerpool_operator.queues.celery.plan import FORGET_S, Parts, Plan
from workerpool_operator.queues.celery.queue import QueueKeys
from workerpool_operator.queues.celery.routes import Routes
from workerpool_operator.queues.connection import Connection
from workerpool_operator.queues.replies import explain, pack

pytestmark = pytest.mark.unit
NOW_S = 1_800_000_000.0


def job(id_: str = "a", *, eta: str | None = None, body: str = "", **headers: Any) -> dict[str, Any]:
    return {"body": body, "headers": {"id": id_, "task": "quick", "eta": eta, **headers}, "properties": {}}


def listed(id_: str = "a", **options: Any) -> bytes:
    return json.dumps(job(id_, **options)).encode()


def held(id_: str = "a", *, exchange: str = "", routing_key: str = "mail", **options: Any) -> bytes:
    return json.dumps([job(id_, **options), exchange, routing_key]).encode()


def cause(error: ReplyError, command: str, key: str, type_: str) -> Unavailable:
    return explain(error, where="redis:6379", user=None, command=command, key=key, type_=type_)


@pytest.mark.parametrize("body", ["", "x" * (LARGE_BYTES + 1), '{"headers": {"id": "no"}}', '\\"headers\\": {' * 9000])
def test_a_message_is_understood_whatever_its_body(body: str) -> None:
    options: dict[str, Any] = {"eta": "2027-01-15T08:00:10+00:00", "enqueued_at": NOW_S, "body": body}
    message = parse_listed(listed(**options))
    assert message == Message(id="a", task="quick", enqueued_at_s=NOW_S, eta_s=NOW_S + 10)
    in_hash = parse_held(held(exchange="media", **options))
    assert in_hash
    assert (in_hash.id, in_hash.exchange, in_hash.routing_key, in_hash.eta_s) == ("a", "media", "mail", NOW_S + 10)


def test_a_time_without_a_zone_is_utc() -> None:
    message = parse_listed(listed(eta="2027-01-15T08:00:00"))
    assert message
    assert message.eta_s == NOW_S


@given(
    st.binary()
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.sampled_from(["headers", "eta", "enqueued_at", "id"]), x),
    ).map(lambda x: json.dumps(x).encode())
)
def test_nonsense_never_raises(raw: bytes) -> None:
    for parse in (parse_listed, parse_held):
        message = parse(raw)
        assert message is None or message.age_s(NOW_S, seen_since_s=NOW_S) >= 0


def test_age_follows_the_job_not_the_text() -> None:
    one = PriorityList("mail")
    one.see(1, listed("a"), NOW_S)
    one.see(2, listed("a", redelivered=True), NOW_S + 5)
    assert one.view(NOW_S + 6).oldest_job_s == 6
    one.see(1, listed("b"), NOW_S + 7)
    assert one.view(NOW_S + 7).oldest_job_s == 0
    one.see(0, None, NOW_S + 8)
    one.see(1, listed("b"), NOW_S + 9)
    assert one.view(NOW_S + 9).oldest_job_s == 0


def test_the_window_is_bounded_by_jobs_and_bytes() -> None:
    later = "2028-01-01T00:00:00+00:00"
    one = PriorityList("mail")
    one.see(5000, listed(eta=later), NOW_S)
    assert one.question(NOW_S) == pack("LRANGE", "mail", -WINDOW_JOBS, -1)
    one.answer([listed(eta=later)] * 3)
    assert one.question(NOW_S) is None
    assert (one.view(NOW_S).ready, len(one.view(NOW_S).due_in_s)) == (4997, 3)
    one.see(5001, listed(eta=later), NOW_S)
    assert one.question(NOW_S)
    one.see(5000, listed(eta=later, body="x" * 32_000), NOW_S)
    assert one.question(NOW_S) == pack("LRANGE", "mail", -64, -1)
    one.see(5000, listed("b", eta=later, body="x" * 100_000), NOW_S)
    assert one.question(NOW_S) is None
    assert one.view(NOW_S).ready == 4999


def test_one_wrong_list_makes_its_queue_unknown_and_passes() -> None:
    queue = QueueKeys("mail", "", (0, 3))
    wrong = ReplyError("WRONGTYPE Operation against a key holding the wrong kind of value")
    queue.see([0, 2, listed(), wrong, wrong], NOW_S, cause)
    depth, *_ = queue.depth(NOW_S)
    assert depth == Unavailable(
        cause=Cause.WRONG_TYPE, message=r"redis:6379: key mail\x06\x163 is not a list: something else uses this name"
    )
    queue.see([0, 2, listed(), 0, None], NOW_S, cause)
    assert queue.depth(NOW_S)[0] == QueueDepth(ready=2, oldest_job_s=0)


def test_own_keys_count_what_is_not_known_yet_as_held() -> None:
    keys = HeldKeys("unacked", "unacked_index")
    keys.see(3, [b"1", b"2", b"3"], cause)
    asked = keys.question()
    assert asked == (pack("HMGET", "unacked", "1", "2", "3"), [b"1", b"2", b"3"])
    assert keys.own(NOW_S).held == 3
    keys.answer(asked[1], [held(), held(eta="2028-01-01T00:00:00+00:00"), b"nonsense"])
    assert keys.question() is None
    view = keys.own(NOW_S)
    assert (view.held, view.scheduled, len(view.due_in_s)) == (2, 1, 1)
    keys.see(0, [], cause)
    assert keys.own(NOW_S) == HeldView(vanished=1)
    keys.see(0, [], cause)
    assert keys.idle


def test_beyond_the_limit_jobs_are_taken_to_be_like_the_known_ones() -> None:
    keys = HeldKeys("unacked", "unacked_index", tag_limit=4)
    tags = [b"1", b"2", b"3", b"4"]
    keys.see(40, tags, cause)
    later = held(eta="2028-01-01T00:00:00+00:00", routing_key="sms")
    keys.answer(tags, [held(), held(), held(routing_key="sms"), later])
    assert (keys.own(NOW_S).held, keys.own(NOW_S).scheduled) == (30, 10)
    split = keys.by_queue(NOW_S, {"mail", "sms"}, Routes(""))
    assert {queue: (view.held, view.scheduled) for queue, view in split.items()} == {"mail": (20, 0), "sms": (10, 10)}
    keys.see(40, [b"5"], cause)
    assert keys.own(NOW_S).vanished == 0, "out of sight is not gone"


def test_routes() -> None:
    routes = Routes("eu:")
    sent = Message(exchange="media", routing_key="eu.sms")
    assert routes.queue(Message(routing_key="mail"), {"mail"}) == "mail"
    assert routes.queue(sent, {"media"}) == "media"
    assert routes.questions([None, sent], NOW_S) == [("media", pack("SMEMBERS", "eu:_kombu.binding.media"))]
    assert routes.questions([sent], NOW_S) == []
    routes.answer("media", [b"x\x06\x16([\x06\x16broken", b"nonsense", b"*.sms\x06\x16^[^\\.]+\\.sms$\x06\x16texts"])
    assert routes.queue(sent, {"media"}) == "texts"
    assert routes.questions([sent], NOW_S + 100) == []


def one_list(name: str, *queues: str, **options: Any) -> QueueSource:
    return QueueSource(key=PoolKey(namespace="shop", name=name), queues=queues, priorities=(0,), **options)


def test_a_plan_keeps_what_it_knows_when_pools_come_and_go() -> None:
    parts = Parts()
    before = Plan([one_list("a", "mail")], parts)
    before.see([0, 1, listed(), 0, [], 0, []], NOW_S, cause)
    after = Plan([one_list("b", "sms"), one_list("a", "mail", "mail")], parts)
    after.see([0, 0, None, 0, 1, listed(), 0, [], 0, [], 0, []], NOW_S + 3, cause)
    readings = after.readings(NOW_S + 3)
    assert readings[PoolKey(namespace="shop", name="a")] == PoolReading(
        queues={"mail": QueueDepth(ready=1, oldest_job_s=3)}, held=0
    )
    assert after.count == 12


def test_a_pool_is_remembered_over_readings_it_is_not_in() -> None:
    parts, slow, quick = Parts(), one_list("slow", "mail", key_prefix="eu:"), one_list("quick", "sms")
    both = [slow, quick]
    Plan(both, parts).see([0, 1, listed(), 0, 0, None, 0, [], 0, [], 0, [], 0, []], NOW_S, cause)
    for second in (1, 2, 3):
        Plan([quick], parts).see([0, 0, None, 0, [], 0, []], NOW_S + second, cause)
        assert parts.prefixes == ("eu:", ""), "what heartbeats are listened to changed with the reading"
    again = Plan(both, parts)
    again.see([0, 1, listed(), 0, 0, None, 0, [], 0, [], 0, [], 0, []], NOW_S + 4, cause)
    assert again.readings(NOW_S + 4)[slow.key] == PoolReading(
        queues={"mail": QueueDepth(ready=1, oldest_job_s=4)}, held=0
    )


def test_what_is_not_asked_about_for_long_is_forgotten() -> None:
    parts, old, new = Parts(), one_list("old", "mail", "shared", key_prefix="eu:"), one_list("new", "shared")
    parts.used([old, new], 0.0)
    Plan([old, new], parts)
    parts.used([new], FORGET_S)
    assert len(parts.pools) == 2
    parts.used([new], FORGET_S + 1)
    assert (set(parts.pools), parts.prefixes, set(parts.routes)) == ({new}, ("",), {""})
    assert [queue.queue for queue in parts.queues.values()] == ["shared"]
    assert set(parts.held) == {"unacked", "workerpool:shop:new:unacked"}


async def test_heartbeats_are_kept_until_silence_or_farewell() -> None:
    now_s = [0.0]
    heard = Heartbeats(Connection(parse_address("redis://localhost")), monotonic=lambda: now_s[0])

    def say(type_: str, pid: int = 1, **fields: Any) -> None:
        event = {"type": type_, "hostname": "celery@a", "pid": pid, "active": 1, "processed": 5, **fields}
        heard.hear(json.dumps({"body": base64.b64encode(json.dumps(event).encode()).decode()}).encode())

    say("worker-online")
    say("worker-heartbeat", 2, freq=20)
    now_s[0] = 9
    assert [(beat.pid, beat.age_s) for beat in heard.beats()] == [(1, 9), (2, 9)]
    now_s[0] = 11
    assert [beat.pid for beat in heard.beats()] == [2]
    say("worker-offline", 2)
    say("worker-heartbeat", active="many")
    for nonsense in (b"", b"[]", b"{}", b'{"body": "!"}', b'{"body": "W10="}', None, 3):
        heard.hear(nonsense)
    assert heard.beats() == ()
    await asyncio.wait_for(heard.close(), 1)


TOLD = {"job_count": 3, "job_seconds": 6.0, "job_seconds_squared": 14.0}


def test_a_heartbeat_may_tell_how_long_jobs_ran() -> None:
    assert job_seconds(TOLD) == JobSeconds(jobs=3, seconds=6.0, squared=14.0)
    assert job_seconds(dict.fromkeys(TOLD, 0)) == JobSeconds(jobs=0, seconds=0.0, squared=0.0)
    # equal lengths are on the edge, and floating point is not exact
    ran = [0.1] * 1_000
    assert job_seconds(dict(zip(TOLD, (1_000, sum(ran), sum(one * one for one in ran)), strict=True))) is not None


@pytest.mark.parametrize("name", TOLD)
@pytest.mark.parametrize("value", [None, "3", True, [], {}, -1, -0.5, float("nan"), float("inf"), 1e25, 10**400])
def test_what_cannot_be_is_not_believed(name: str, value: object) -> None:
    assert job_seconds(TOLD | {name: value}) is None
    assert job_seconds({key: number for key, number in TOLD.items() if key != name}) is None


@pytest.mark.parametrize(
    "told", [(1.5, 1.0, 1.0), (0, 1.0, 1.0), (2, 10.0, 1.0)], ids=["half a job", "none, and yet seconds", "no lengths"]
)
def test_what_does_not_fit_together_is_not_believed(told: tuple[float, float, float]) -> None:
    assert job_seconds(dict(zip(TOLD, told, strict=True))) is None


async def test_a_heartbeat_that_lies_of_its_jobs_still_says_who_is_busy() -> None:
    heard = Heartbeats(Connection(parse_address("redis://localhost")))
    for pid, ran in ((1, TOLD), (2, TOLD | {"job_count": 10**400}), (3, {})):
        event = {"type": "worker-heartbeat", "hostname": "celery@a", "pid": pid, "active": 1, "processed": 5, **ran}
        heard.hear(json.dumps({"body": base64.b64encode(json.dumps(event).encode()).decode()}).encode())
    told = JobSeconds(jobs=3, seconds=6.0, squared=14.0)
    assert [(beat.pid, beat.active, beat.finished) for beat in heard.beats()] == [
        (1, 1, told),
        (2, 1, None),
        (3, 1, None),
    ]
    await heard.close()


def test_no_text_holds_the_password() -> None:
    address = parse_address("rediss://bob:hunter2@redis:6380/3?ssl_cert_reqs=CERT_NONE")
    assert "hunter2" not in f"{address} {address!r}"
    assert (str(address), address.database, address.user, address.tls is not None) == ("redis:6380", 3, "bob", True)
    assert str(parse_address("unix:///run/redis.sock?db=2")) == "/run/redis.sock"
