"""A broker that is away, silent, closed to us or no Redis at all: a cause in words, in bounded time, never a zero."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import redis
from celery import Celery

from tests.support.celery_apps.contract import Watch, source
from tests.support.tls import TlsProxy
from workerpool_operator.core.observation import Cause, QueueDepth, Unavailable
from workerpool_operator.local.redis_server import RedisServer
from workerpool_operator.ports import PoolReading
from workerpool_operator.queues import LayoutError, reader_for
from workerpool_operator.queues.celery.delayed import DUE_LIMIT

pytestmark = pytest.mark.integration
Make = Callable[..., Watch]
MakeRedis = Callable[..., RedisServer]

ACL = (
    "resetchannels -@all +llen +lindex +lrange +hlen +hmget +zcard +zcount +zrange +smembers +select +subscribe +ping "
    "~mail* ~unacked* ~_kombu.binding.* ~workerpool:* &/0.celeryev/*"
)
"""The list of docs/celery.md, without what only cordoning needs."""


async def failure(watch: Make, url: str, **options: object) -> Unavailable:
    reading = await watch(source("mail"), source("sms", name="other"), url=url, **options).broker()
    first, second = reading.pools.values()
    assert isinstance(first, Unavailable), first
    assert first == second
    assert "\n" not in first.message
    assert "hunter2" not in first.message
    return first


@asynccontextmanager
async def answering(reply: bytes | None) -> AsyncIterator[int]:
    """A server that answers everything so, closes at once for empty bytes, is silent for None; its port."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while await reader.read(1 << 16):
            if reply is not None:
                writer.write(reply)
            if reply == b"":
                writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()


async def test_refused_and_unknown_host(watch: Make) -> None:
    async with answering(None) as port:
        pass
    away = await failure(watch, f"redis://:hunter2@127.0.0.1:{port}/0")
    assert (away.cause, away.message) == (Cause.UNREACHABLE, f"127.0.0.1:{port} refused the connection")
    away = await failure(watch, "redis://no-such-host.invalid:6379/0", connect_timeout_s=5)
    assert (away.cause, away.message) == (Cause.UNREACHABLE, "the host name no-such-host.invalid is not known")


async def test_a_silent_server_costs_no_more_than_the_time_limit(watch: Make) -> None:
    async with answering(None) as port:
        begin_s = time.monotonic()
        silent = await failure(watch, f"redis://127.0.0.1:{port}/0", read_timeout_s=0.3)
        assert time.monotonic() - begin_s < 1
        assert (silent.cause, silent.message) == (
            Cause.TIMEOUT,
            f"127.0.0.1:{port} took the connection and did not answer in 0.3 s",
        )


@pytest.mark.parametrize(
    ("reply", "cause", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Cause.BAD_REPLY, "does not speak Redis' protocol"),
        (b"\x00\x01\x02\x03\x04", Cause.BAD_REPLY, "does not speak Redis' protocol"),
        (b"+OK\r\n" * 50, Cause.BAD_REPLY, "not a number"),
        (b"", Cause.UNREACHABLE, "closed the connection"),
        (b"-LOADING Redis is loading the dataset in memory\r\n" * 50, Cause.LOADING, "still loading"),
        (b"-MASTERDOWN Link with MASTER is down\r\n" * 50, Cause.BAD_REPLY, "replica that lost its master"),
        (b"-NOAUTH Authentication required.\r\n" * 50, Cause.AUTH, "a password is needed"),
        (b"-ERR max number of clients reached\r\n" * 50, Cause.BAD_REPLY, "max number of clients reached"),
        (b"\x15\x03\x03\x00\x02\x02\x0a", Cause.TLS, "use rediss://"),
    ],
)
async def test_answers_that_are_no_numbers(watch: Make, reply: bytes, cause: Cause, words: str) -> None:
    async with answering(reply) as port:
        reading = await watch(source("mail"), url=f"redis://127.0.0.1:{port}/0").broker()
        (pool,) = reading.pools.values()
        got = pool.queues["mail"] if isinstance(pool, PoolReading) else pool
        assert isinstance(got, Unavailable)
        assert got.cause is cause
        assert words in got.message


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sentinel://:hunter2@one:26379;sentinel://two:26379", "Sentinels"),
        ("http://:hunter2@host", "must begin with redis://"),
        ("redis://:hunter2@host:port/0", "cannot be parsed"),
        ("", "must begin with redis://"),
        ("rediss://:hunter2@host?ssl_ca_certs=/no/such/file", "No such file"),
    ],
)
async def test_an_address_that_cannot_be_used(watch: Make, url: str, words: str) -> None:
    wrong = await failure(watch, url)
    assert wrong.cause is Cause.NOT_CONFIGURED
    assert words in wrong.message


async def test_a_certificate_that_is_none(watch: Make) -> None:
    assert (await failure(watch, "rediss://host", ca_pem="no certificate")).cause is Cause.NOT_CONFIGURED


async def test_stopped_and_started_again(watch: Make, make_redis: MakeRedis) -> None:
    server = make_redis(append_fsync="always")
    with redis.Redis.from_url(server.url) as client:
        client.lpush("mail", "{}")
    one = watch(source("mail"), url=server.url)
    assert (await one.depth("mail")).ready == 1
    server.restart()
    assert (await one.depth("mail")).ready == 1, "the first reading after a restart nobody noticed"
    server.kill()
    for _ in range(2):
        begin_s = time.monotonic()
        (away,) = (await one.broker()).pools.values()
        assert isinstance(away, Unavailable)
        assert away.cause is Cause.UNREACHABLE
        assert time.monotonic() - begin_s < 1
    server.start()
    assert (await one.depth("mail")).ready == 1


async def test_a_cancelled_reading_does_not_mix_up_the_next(watch: Make, redis_client: redis.Redis) -> None:
    redis_client.lpush("mail", "{}")
    one = watch(source("mail", "sms"))
    await one.broker()
    reading = asyncio.create_task(one.broker())
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    assert [(await one.depth(name)).ready for name in ("mail", "sms")] == [1, 0]


async def test_sixty_thousand_commands_do_not_block_each_other(watch: Make, redis_client: redis.Redis) -> None:
    redis_client.lpush("q-5999", "{}")
    one = watch(*(source(f"q-{index}", name=f"p{index}") for index in range(6000)), read_timeout_s=20)
    reading = await one.broker()
    assert reading.commands >= 60_000
    last = reading.pools[one.sources[-1].key]
    assert isinstance(last, PoolReading)
    assert last.queues["q-5999"].ready == 1  # type: ignore[union-attr]


async def test_passwords(watch: Make, make_redis: MakeRedis) -> None:
    server = make_redis(password="hunter2@/")
    assert (await watch(source("mail"), url=server.url).depth("mail")).ready == 0
    wrong = await failure(watch, server.url_for(password="hunter2wrong"))
    assert (wrong.cause, wrong.message) == (
        Cause.AUTH,
        f"127.0.0.1:{server.port}: wrong password for user default, or no such user",
    )
    none = await failure(watch, f"redis://127.0.0.1:{server.port}/0")
    assert (none.cause, none.message) == (
        Cause.AUTH,
        f"127.0.0.1:{server.port}: a password is needed and the broker URL has none",
    )


async def test_a_password_the_server_does_not_have(watch: Make, redis_server: RedisServer) -> None:
    unexpected = await failure(watch, redis_server.url_for(password="hunter2"))
    assert unexpected.cause is Cause.AUTH
    assert "the server has none" in unexpected.message


async def test_the_documented_acl_suffices(watch: Make, make_redis: MakeRedis) -> None:
    server = make_redis(config=[f"user reader on >secret {ACL}"])
    app = Celery("acl", broker=server.url, set_as_current=False)
    app.send_task("quick", queue="mail", countdown=3600)
    app.send_task("quick", queue="mail", countdown=3600)
    with redis.Redis.from_url(server.url) as admin:
        message = admin.lindex("mail", 0)
        admin.hset("unacked", "tag", '[{"headers": {}}, "media", "mail"]')
        admin.zadd("unacked_index", {"tag": 1})
        # more past due than are known one by one: they are counted
        admin.zadd("workerpool:delayed:mail", {f"tag-{at}": at for at in range(DUE_LIMIT + 1)})
        assert message
    url = server.url_for(user="reader", password="secret")
    one = watch(source("mail"), url=url)
    pool = await one.pool()
    depth = pool.queues["mail"]
    assert isinstance(depth, QueueDepth)
    assert (depth.ready, pool.scheduled, pool.held) == (DUE_LIMIT + 1, 2, 1)
    heartbeats = one.reader._heartbeats
    assert heartbeats
    async with asyncio.timeout(10):
        await heartbeats.listening.wait()
    app.close()


@pytest.mark.parametrize("command", ["llen", "lindex", "hlen", "zrange", "zcard", "zcount"])
async def test_a_command_that_is_not_granted_is_named(watch: Make, make_redis: MakeRedis, command: str) -> None:
    server = make_redis(config=[f"user reader on >secret {ACL} -{command}"])
    with redis.Redis.from_url(server.url) as admin:
        admin.zadd("workerpool:delayed:mail", {f"tag-{at}": at for at in range(DUE_LIMIT + 1)})
    pool = await watch(source("mail"), url=server.url_for(user="reader", password="secret")).pool()
    denied = pool.queues["mail"] if command.startswith(("l", "zc")) else pool.held
    assert isinstance(denied, Unavailable)
    assert denied.cause is Cause.NO_PERMISSION
    assert denied.message.endswith(
        f"user reader may not run {command.upper()}: grant it with ACL SETUSER reader +{command}"
    )


async def test_a_key_that_is_not_granted_is_named(watch: Make, make_redis: MakeRedis) -> None:
    server = make_redis(config=[f"user reader on >secret {ACL}"])
    one = watch(source("mail", "sms"), url=server.url_for(user="reader", password="secret"))
    pool = await one.pool()
    assert pool.queues["mail"] == QueueDepth(ready=0)
    denied = pool.queues["sms"]
    assert isinstance(denied, Unavailable)
    assert denied.message.endswith("user reader may not read key sms with LLEN: grant it with ACL SETUSER reader ~sms*")
    with redis.Redis.from_url(server.url) as admin:
        admin.acl_setuser("reader", keys=["mail*", "unacked*", "workerpool:shop:*"], reset_keys=True)
    denied = (await one.pool()).queues["mail"]
    assert isinstance(denied, Unavailable)
    assert denied.message.endswith(
        "user reader may not read key workerpool:delayed:mail with ZCARD: "
        "grant it with ACL SETUSER reader ~workerpool:delayed:mail"
    )


async def test_select_that_is_not_granted(watch: Make, make_redis: MakeRedis) -> None:
    server = make_redis(config=[f"user reader on >secret {ACL} -select"])
    denied = await failure(watch, server.url_for(user="reader", password="secret", database=2))
    assert denied.cause is Cause.NO_PERMISSION
    assert "+select" in denied.message


async def test_channels_that_are_not_granted_cost_the_heartbeats_only(
    watch: Make, make_redis: MakeRedis, caplog: pytest.LogCaptureFixture
) -> None:
    server = make_redis(config=[f"user reader on >secret {ACL} resetchannels"])
    one = watch(source("mail"), url=server.url_for(user="reader", password="secret"))
    await one.until_broker(lambda _: "no heartbeats" in caplog.text)
    assert "grant it with ACL SETUSER reader &/0.celeryev/*" in caplog.text
    assert (await one.depth("mail")).ready == 0


async def test_tls(watch: Make, make_redis: MakeRedis) -> None:
    server = make_redis(password="hunter2")
    async with TlsProxy(server.port) as proxy, TlsProxy(server.port) as other:
        url = f"rediss://:hunter2@localhost:{proxy.port}/0"
        assert (await watch(source("mail"), url=url, ca_pem=proxy.ca_pem).depth("mail")).ready == 0
        assert (await watch(source("mail"), url=f"{url}?ssl_cert_reqs=none").depth("mail")).ready == 0
        for wrong in (other.ca_pem, None):
            untrusted = await failure(watch, url, ca_pem=wrong)
            assert untrusted.cause is Cause.TLS
            assert "not trusted" in untrusted.message
        name = await failure(watch, url.replace("localhost", "127.0.0.1"), ca_pem=proxy.ca_pem)
        assert name.cause is Cause.TLS
        assert "127.0.0.1" in name.message
        plain = await failure(watch, f"redis://:hunter2@localhost:{proxy.port}/0")
        assert plain.cause is Cause.TLS
        assert "rediss://" in plain.message
        begin_s = time.monotonic()
        against = await failure(watch, f"rediss://localhost:{server.port}/0", connect_timeout_s=0.3)
        assert against.cause is Cause.TLS
        assert "does this port speak TLS?" in against.message
        assert time.monotonic() - begin_s < 2


def test_layouts_that_are_not_built() -> None:
    with pytest.raises(LayoutError, match=r"^broker.layout: BullMQ is not supported yet; use Celery$"):
        reader_for("BullMQ", "redis://localhost")
    with pytest.raises(LayoutError, match=r"^broker.layout: Kafka is no layout; use Celery$"):
        reader_for("Kafka", "redis://localhost")
