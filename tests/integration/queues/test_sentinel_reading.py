"""Reading a broker that Sentinels name: found, followed through failovers, and what is said when it is not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from tests.support.celery_apps.contract import Watch, source
from tests.support.sentinel import SentinelSet
from tests.support.tls import TlsProxy
from workerpool_operator.core.observation import Cause, QueueDepth, Unavailable
from workerpool_operator.queues import connection as connections

pytestmark = pytest.mark.integration
Make = Callable[..., Watch]


@pytest.fixture
def sentinels(tmp_path: Path) -> Iterator[SentinelSet]:
    with SentinelSet(tmp_path / "redis") as made:
        yield made


async def reading(one: Watch) -> int | Unavailable:
    """The jobs that wait, or why nobody knows."""
    (pool,) = (await one.broker()).pools.values()
    found = pool if isinstance(pool, Unavailable) else pool.queues["mail"]
    return found.ready if isinstance(found, QueueDepth) else found


async def until_read(one: Watch, depth: int) -> None:
    """Wait until the reading is this; none on the way may be another number than those that are true."""
    async with asyncio.timeout(30):
        while (found := await reading(one)) != depth:
            assert isinstance(found, Unavailable), found
            assert found.cause in {Cause.UNREACHABLE, Cause.TIMEOUT}, found
            await asyncio.sleep(0.1)


async def test_the_primary_is_found_and_a_killed_one_left(watch: Make, sentinels: SentinelSet) -> None:
    with sentinels.client(sentinels.primary) as primary:
        primary.lpush("mail", "{}", "{}")
        assert primary.wait(1, 5_000) == 1
    one = watch(source("mail"), url=sentinels.url())
    assert await reading(one) == 2
    killed = sentinels.primary
    killed.kill()
    away = await reading(one)
    assert isinstance(away, Unavailable), "a broker that is away is never a number"
    assert f"127.0.0.1:{killed.port} (mymaster)" in away.message
    await until_read(one, 2)
    with sentinels.client(sentinels.primary) as primary:
        primary.lpush("mail", "{}")
    assert await reading(one) == 3


async def test_a_planned_failover_is_noticed_though_nothing_broke(
    watch: Make, sentinels: SentinelSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_ASK_AGAIN_S", 0.2)
    one = watch(source("mail"), url=sentinels.url())
    assert await reading(one) == 0
    old = sentinels.primary
    await asyncio.to_thread(sentinels.fail_over)
    # The old primary, cut off from its replica and its Sentinels, would go on answering with what it had.
    with sentinels.client(old) as lost, sentinels.client(sentinels.primary) as primary:
        lost.replicaof("NO", "ONE")
        lost.lpush("mail", "{}", "{}", "{}")
        primary.lpush("mail", "{}")
    await until_read(one, 1)


async def test_an_idle_listener_follows_as_well(
    watch: Make, sentinels: SentinelSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_ASK_AGAIN_S", 0.1)
    one = watch(source("mail"), url=sentinels.url())
    await one.broker()
    heartbeats = one.reader._heartbeats
    assert heartbeats
    async with asyncio.timeout(10):
        await heartbeats.listening.wait()
    killed = await asyncio.to_thread(sentinels.kill_primary)
    async with asyncio.timeout(30):
        while heartbeats._connection.address.port == killed.port:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.05)
        await heartbeats.listening.wait()


async def failure(watch: Make, url: str, sentinels: SentinelSet, **options: object) -> Unavailable:
    found = await reading(watch(source("mail"), url=url, **options))
    assert isinstance(found, Unavailable), found
    for secret in (sentinels.password, sentinels.sentinel_password, "data", "watch"):
        assert secret not in found.message
    return found


async def test_what_is_said_when_there_is_no_primary(watch: Make, sentinels: SentinelSet) -> None:
    first = sentinels.sentinels[0].port
    unknown = await failure(watch, sentinels.url(service="other", ports=(first,)), sentinels)
    assert unknown.cause is Cause.NOT_CONFIGURED
    text = f"no Sentinel names a primary of other: 127.0.0.1:{first} knows no service other"
    assert unknown.message == text
    login = await failure(watch, sentinels.url().partition("?")[0], sentinels)
    assert login.cause is Cause.AUTH
    assert "a password is needed" in login.message
    wrong = await failure(watch, sentinels.url(password="wrong"), sentinels)
    assert wrong.cause is Cause.AUTH
    assert "wrong password for user default" in wrong.message
    node = sentinels.nodes[0]
    no_sentinel = f"redis+sentinel://127.0.0.1:{node.port}/mymaster?sentinel_password=data%2F%40%23%3Fpw"
    told = await failure(watch, no_sentinel, sentinels)
    assert told.cause is Cause.BAD_REPLY
    assert told.message.endswith(f"127.0.0.1:{node.port} is no Sentinel: name Redis itself by redis://")
    for sentinel in sentinels.sentinels[:2]:
        sentinel.kill()
    assert await reading(watch(source("mail"), url=sentinels.url())) == 0, "one is enough"
    sentinels.sentinels[2].kill()
    away = await failure(watch, sentinels.url(), sentinels)
    assert away.cause is Cause.UNREACHABLE
    assert away.message.count("refused the connection") == len(sentinels.sentinels)


async def test_sentinels_that_are_gone_do_not_end_a_reading_that_works(
    watch: Make, sentinels: SentinelSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_ASK_AGAIN_S", 0.0)
    one = watch(source("mail"), url=sentinels.url())
    assert await reading(one) == 0
    for sentinel in sentinels.sentinels:
        sentinel.kill()
    assert await reading(one) == 0


async def test_tls_to_both(watch: Make, sentinels: SentinelSet) -> None:
    node = sentinels.nodes[0]
    names = ("127.0.0.1",)
    authority = trustme.CA()
    async with (
        TlsProxy(node.port, names=names, authority=authority) as front,
        TlsProxy(sentinels.sentinels[0].port, names=names, authority=authority) as watching,
    ):
        watching.rewrite(node.port, front.port)
        url = sentinels.url(tls=True, ports=(watching.port,))
        assert await reading(watch(source("mail"), url=url, ca_pem=front.ca_pem)) == 0
        untrusted = await failure(watch, url, sentinels)
        assert untrusted.cause is Cause.TLS
        assert f"127.0.0.1:{watching.port}: its certificate is not trusted" in untrusted.message
        plain = await failure(watch, sentinels.url(ports=(watching.port,)), sentinels)
        assert plain.cause is Cause.TLS


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://:hunter2@h:26379",
        "redis+sentinel://:hunter2@h:26379/",
        "redis+sentinel://:hunter2@h:port/mymaster",
        "redis+sentinel://:hunter2@/mymaster",
        "redis+sentinel://:hunter2@h/mymaster/zero",
        "sentinel://:hunter2@h:26379",
    ],
)
async def test_addresses_of_sentinels_that_cannot_be_used(watch: Make, url: str) -> None:
    found = await reading(watch(source("mail"), url=url))
    assert isinstance(found, Unavailable)
    assert found.cause is Cause.NOT_CONFIGURED
    assert "hunter2" not in found.message
