"""Real stock workers are told what to take jobs from: they stop, start again, are told anew, or do not listen."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from tests.support.celery_apps.contract import PATIENCE_S, Gate, Watch, Worker, source
from workerpool_operator.core.observation import Cause, Unavailable
from workerpool_operator.local.redis_server import RedisServer
from workerpool_operator.ports import WorkerBeat
from workerpool_operator.queues.celery import CeleryControl
from workerpool_operator.queues.celery.mailbox import REPLIES
from workerpool_operator.queues.cordons import UNANSWERED, Cordons

pytestmark = pytest.mark.integration
ONE, TWO = "celery@one", "celery@two"
MAIL = frozenset({"mail"})


@pytest.fixture
async def control(redis_server: RedisServer) -> AsyncIterator[CeleryControl]:
    made = CeleryControl(redis_server.url)
    yield made
    await made.close()


async def listening(control: CeleryControl, *workers: str, key_prefix: str = "") -> dict[str, frozenset[str]]:
    """Wait until workers answer; what they take jobs from."""
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        found = await control.queues_of(workers, key_prefix=key_prefix)
        assert not isinstance(found, Unavailable), found
        if found.keys() == set(workers) and all(found.values()):
            return dict(found)
        assert time.monotonic() < deadline_s, found
        await asyncio.sleep(0.05)


async def until(condition: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.02)


async def told(control: CeleryControl, worker: str, queues: frozenset[str], *, key_prefix: str = "") -> None:
    """Wait until a worker says that it takes jobs from these queues and no others."""
    deadline_s = time.monotonic() + PATIENCE_S
    while (found := await control.queues_of([worker], key_prefix=key_prefix)) != {worker: queues}:
        assert time.monotonic() < deadline_s, found
        await asyncio.sleep(0.02)


async def beats_of(watch: Watch, worker: str, condition: Callable[[WorkerBeat], bool]) -> WorkerBeat:
    """Wait for a heartbeat of a worker."""
    reading = await watch.until_broker(
        lambda found: any(beat.hostname == worker and condition(beat) for beat in found.beats)
    )
    return next(beat for beat in reading.beats if beat.hostname == worker)


async def having(control: CeleryControl, jobs: dict[str, int]) -> None:
    """Wait until workers say that they have so many jobs in hand."""
    deadline_s = time.monotonic() + PATIENCE_S
    while (found := await control.jobs_of(jobs, key_prefix="")) != jobs:
        assert time.monotonic() < deadline_s, found
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("kind", ["prefork", "threads"])
async def test_what_a_worker_has_in_hand_is_what_runs_and_what_it_has_fetched(
    control: CeleryControl,
    worker: Callable[..., Worker],
    producer: Callable[..., Celery],
    redis_client: redis.Redis,
    gate: Gate,
    kind: str,
) -> None:
    worker("mail", "-n", ONE, "-P", kind)
    await listening(control, ONE)
    assert await control.jobs_of([ONE, TWO], key_prefix="") == {ONE: 0}, "nobody answers for the other"
    for _ in range(3):
        producer().send_task("hold", args=[gate.path], queue="mail")
    await having(control, {ONE: 3})  # one runs, two are to follow
    gate.open()
    await having(control, {ONE: 0})
    assert redis_client.ttl(REPLIES) != -1, "an answer nobody waits for any more does not stay"


async def test_what_waits_for_its_time_is_not_in_hand(
    control: CeleryControl, worker: Callable[..., Worker], producer: Callable[..., Celery], redis_client: redis.Redis
) -> None:
    worker("mail", "-n", ONE)
    await listening(control, ONE)
    producer().send_task("quick", queue="mail", countdown=3600)
    await until(lambda: redis_client.hlen("unacked") == 1)
    assert await control.jobs_of([ONE], key_prefix="") == {ONE: 0}


@pytest.mark.parametrize("kind", ["prefork", "threads"])
async def test_a_cordoned_worker_runs_all_that_it_had_fetched_and_is_idle_then(
    control: CeleryControl,
    worker: Callable[..., Worker],
    producer: Callable[..., Celery],
    redis_client: redis.Redis,
    watch: Callable[..., Watch],
    tmp_path: Path,
    kind: str,
) -> None:
    """Its jobs end one after the other; between two of them it may look idle, and is not."""
    look, app, gates = watch(source("mail")), producer(), [Gate(tmp_path / f"gate-{number}") for number in range(4)]
    await look.broker()
    one = worker("mail", "-n", ONE, "-P", kind)  # it fetches four at once
    await listening(control, ONE)
    for gate in gates:
        app.send_task("hold", args=[gate.path], queue="mail")
    await having(control, {ONE: 4})
    cordons = Cordons("mail", lambda: control)
    ended: list[int] = []
    cordons.on_idle = lambda: ended.append(one.log.read_text().count(" succeeded"))
    await cordons.cordon(await cordons.ask({"one": [ONE]}), {})
    await told(control, ONE, frozenset())
    app.send_task("quick", queue="mail")

    async def heartbeats() -> None:
        cordons.hear("one", [beat for beat in (await look.broker()).beats if beat.hostname == ONE])

    for number, gate in enumerate(gates):
        await having(control, {ONE: 4 - number})
        await heartbeats()
        await cordons.refresh()
        assert not cordons.idle()
        gate.open()
    deadline_s = time.monotonic() + PATIENCE_S
    while "one" not in cordons.idle():
        assert time.monotonic() < deadline_s
        await heartbeats()
        await asyncio.sleep(0.05)
    await until(lambda: ended)
    assert ended[0] == 4
    assert redis_client.llen("mail") == 1
    cordons.stop()


@pytest.mark.parametrize("kind", ["prefork", "threads"])
async def test_a_busy_worker_takes_no_more_until_it_is_given_back(
    control: CeleryControl,
    worker: Callable[..., Worker],
    producer: Callable[..., Celery],
    watch: Callable[..., Watch],
    redis_client: redis.Redis,
    gate: Gate,
    kind: str,
) -> None:
    app, look = producer(), watch(source("mail"))
    await look.broker()
    options = {"task_acks_late": True, "worker_prefetch_multiplier": 1}
    worker("mail,sms", "-n", ONE, "-P", kind, **options)
    assert await listening(control, ONE) == {ONE: {"mail", "sms"}}
    app.send_task("hold", args=[gate.path], queue="mail")
    first = await beats_of(look, ONE, lambda beat: beat.active == 1)

    cordons = Cordons("mail", lambda: control)
    queues = await cordons.ask({"one": [ONE]})
    assert queues == {"one": {ONE: {"mail", "sms"}}}
    assert await cordons.cordon(queues, {"one": [first]})
    await until(lambda: cordons.cordoned() == {"one"})
    await told(control, ONE, frozenset())
    gate.open()
    for _ in range(5):
        app.send_task("quick", queue="mail")
    await beats_of(look, ONE, lambda beat: beat.active == 0)
    deadline_s = time.monotonic() + PATIENCE_S
    while "one" not in cordons.idle():
        assert time.monotonic() < deadline_s
        cordons.hear("one", [beat for beat in (await look.broker()).beats if beat.hostname == ONE])
        await asyncio.sleep(0.1)
    assert redis_client.llen("mail") == 5, "it takes none"

    await cordons.give_back(["one"])
    await until(lambda: redis_client.llen("mail") == 0)
    await until(lambda: cordons.returned() == {"one"})
    assert await listening(control, ONE) == {ONE: {"mail", "sms"}}
    cordons.forget(["one"])
    assert not cordons
    assert not redis_client.exists(REPLIES), "no answer is left behind"
    cordons.stop()


async def test_others_take_what_a_cordoned_one_does_not(
    control: CeleryControl,
    worker: Callable[..., Worker],
    producer: Callable[..., Celery],
    redis_client: redis.Redis,
    gate: Gate,
) -> None:
    app = producer()
    one = worker("mail", "-n", ONE, task_acks_late=True, worker_prefetch_multiplier=1)
    await listening(control, ONE)
    app.send_task("hold", args=[gate.path], queue="mail")
    await until(lambda: "received" in one.log.read_text())
    two = worker("mail", "-n", TWO)
    await listening(control, ONE, TWO)
    cordons = Cordons("mail", lambda: control)
    await cordons.cordon(await cordons.ask({"one": [ONE]}), {})
    await told(control, ONE, frozenset())
    for _ in range(20):
        app.send_task("quick", queue="mail")
    gate.open()
    await until(lambda: two.log.read_text().count("succeeded") == 20)
    assert one.log.read_text().count(" received") == 1
    assert redis_client.llen("mail") == 0
    cordons.stop()


async def test_a_worker_that_comes_again_is_told_again(
    control: CeleryControl, worker: Callable[..., Worker], redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workerpool_operator.queues.cordons.REFRESH_S", 0.3)
    first = worker("mail", "-n", ONE)
    await listening(control, ONE)
    cordons = Cordons("mail", lambda: control)
    await cordons.cordon(await cordons.ask({"one": [ONE]}), {})
    await told(control, ONE, frozenset())
    # its connections break: Celery consumes anew
    for client in redis_client.client_list():
        if client["cmd"] != "client|list":
            redis_client.client_kill_filter(_id=client["id"], skipme=True)
    await until(lambda: first.log.read_text().count("Connected to") == 2)
    await told(control, ONE, frozenset())
    # its container is started anew: nothing of what it was told is left
    first.kill()
    second = worker("mail", "-n", ONE)
    await until(lambda: "Canceling queue mail" in second.log.read_text())
    await told(control, ONE, frozenset())
    cordons.stop()


async def test_another_operator_goes_on_from_what_was_written_down(
    control: CeleryControl, worker: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workerpool_operator.queues.cordons.REFRESH_S", 0.3)
    worker("mail", "-n", ONE)
    await listening(control, ONE)
    before = Cordons("mail", lambda: control)
    await before.cordon(await before.ask({"one": [ONE]}), {})
    queues = before.queues("one")
    before.stop()
    after = Cordons("mail", lambda: control)
    after.adopt("one", queues)
    await until(lambda: after.cordoned() == {"one"})
    await told(control, ONE, frozenset())
    await after.give_back(["one"])
    await until(lambda: after.returned() == {"one"})
    await told(control, ONE, MAIL)
    after.stop()


async def test_a_worker_without_remote_control_is_known_at_once(
    control: CeleryControl,
    worker: Callable[..., Worker],
    watch: Callable[..., Watch],
    caplog: pytest.LogCaptureFixture,
) -> None:
    look = watch(source("mail"))
    await look.broker()
    worker("mail", "-n", ONE, worker_enable_remote_control=False)
    await beats_of(look, ONE, lambda _: True)
    cordons = Cordons("shop/mail", lambda: control)
    assert cordons.drains, "nobody knows better yet"
    begin_s = time.monotonic()
    assert await cordons.ask({"one": [ONE]}) == {}
    assert time.monotonic() - begin_s < 0.5, "nobody listens: there is nothing to wait for"
    assert cordons.drains, "it is idle, and may only not listen yet"
    assert not caplog.records
    assert await cordons.ask({"one": [ONE]}, busy=["one"]) == {}
    assert not cordons.drains
    assert await cordons.ask({"one": [ONE]}, busy=["one"]) == {}
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert UNANSWERED in warnings[0]
    assert "shop/mail" in warnings[0]


async def test_a_worker_held_up_by_its_job_is_never_told_and_goes_on_as_before(
    control: CeleryControl,
    worker: Callable[..., Worker],
    producer: Callable[..., Celery],
    redis_client: redis.Redis,
    gate: Gate,
) -> None:
    app = producer()
    solo = worker("mail", "-n", ONE, "-P", "solo")
    await listening(control, ONE)
    app.send_task("hold", args=[gate.path], queue="mail")
    await until(lambda: "received" in solo.log.read_text())
    cordons = Cordons("mail", lambda: control)
    assert await cordons.ask({"one": [ONE]}, busy=["one"]) == {}
    assert not cordons.drains
    gate.open()
    app.send_task("quick", queue="mail")
    await until(lambda: solo.log.read_text().count("succeeded") == 2)
    await told(control, ONE, MAIL)
    assert redis_client.ttl(REPLIES) != -1, "an answer nobody waits for any more does not stay"


async def test_prefix_and_database_of_the_workers(
    redis_server: RedisServer, worker: Callable[..., Worker], redis_client: redis.Redis
) -> None:
    url = f"{redis_server.url.rpartition('/')[0]}/3"
    control = CeleryControl(url)
    worker("mail", "-n", ONE, broker=url, broker_transport_options={"global_keyprefix": "shop:"})
    await listening(control, ONE, key_prefix="shop:")
    assert await control.cancel({ONE: MAIL}, key_prefix="shop:") is None
    await told(control, ONE, frozenset(), key_prefix="shop:")
    assert await control.add({ONE: MAIL}, key_prefix="shop:") is None
    await told(control, ONE, MAIL, key_prefix="shop:")
    assert redis_client.dbsize() == 0
    await control.close()


@pytest.mark.parametrize(
    ("rights", "named"),
    [
        ("+publish +lrange +lrem +expire ~workerpool:*", "&/0.celery.pidbox"),
        ("+lrange +lrem +expire ~workerpool:* &/0.celery.pidbox", "+publish"),
    ],
)
async def test_a_missing_right_is_named_once_and_stops_nothing(
    make_redis: Callable[..., RedisServer],
    rights: str,
    named: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = make_redis(password="whole")
    with redis.Redis.from_url(server.url) as client:
        client.execute_command(*f"ACL SETUSER few on >secret resetchannels -@all +select +ping {rights}".split())
    place = server.url.rpartition("@")[2]
    control = CeleryControl(f"redis://few:secret@{place}")
    cordons = Cordons("shop/mail", lambda: control)
    for _ in range(2):
        assert await cordons.ask({"one": [ONE]}) == {}
        assert not cordons.drains
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert f"ACL SETUSER few {named}" in warnings[0]
    assert "secret" not in warnings[0]
    await control.close()


async def test_a_broker_that_is_away_or_none_is_told_as_such() -> None:
    away = CeleryControl("redis://127.0.0.1:1")
    unknown: Any = await away.jobs_of([ONE], key_prefix="")
    assert unknown.cause is Cause.UNREACHABLE
    found: Any = await away.queues_of([ONE], key_prefix="")
    assert found.cause is Cause.UNREACHABLE
    failed = await away.cancel({ONE: MAIL}, key_prefix="")
    assert failed is not None
    await away.close()
    wrong: Any = await CeleryControl("amqp://rabbit").queues_of([ONE], key_prefix="")
    assert wrong.cause is Cause.NOT_CONFIGURED
