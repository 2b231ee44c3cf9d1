"""Brokers whose address lies in a Secret: made late, rotated, mistyped, and never to be read anywhere else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest
import redis

from tests.support.control_plane.api import Object, path
from tests.support.control_plane.cluster import ControlPlane
from tests.support.operator_world import World, operator_world
from tests.support.tls import TlsProxy
from tests.support.waiting import eventually
from workerpool_operator.kube.names import BROKER_REVISION_ANNOTATION
from workerpool_operator.local.redis_server import RedisServer

pytestmark = pytest.mark.integration

CANARY = "c4n4ry"
"""Part of every password in this module: the last test looks for it everywhere."""

FIRST, SECOND, WRONG = (f"{CANARY}-{name}/@?:#é" for name in ("first", "second", "wrong"))
SOON_S = 10.0


@pytest.fixture(scope="module")
def world(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    hosts = ("--allowed-broker-hosts", "127.0.0.*", "--allowed-broker-hosts", "localhost")
    folder = tmp_path_factory.mktemp("secrets")
    with operator_world(control_plane, folder, (*hosts, "--log-level", "DEBUG")) as made:
        yield made


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("closed"), password=FIRST) as server:
        with redis.Redis.from_url(server.url) as client:
            client.execute_command("ACL", "SETUSER", "reader", "on", f">{FIRST}", "~*", "&*", "+@all")
        yield server


def from_secret(world: World, name: str, **broker: Object) -> None:
    """A pool whose address is in the Secret of its name."""
    world.make(name, "", broker={"urlSecretRef": {"name": name, "key": "url"}, **broker})


def connects(world: World, name: str) -> None:
    assert world.says(name, "BrokerReachable", "Connected", within_s=SOON_S)["status"] == "True"


def test_a_secret_and_its_key_are_named_and_may_come_late(world: World, broker: RedisServer) -> None:
    from_secret(world, "late")
    broken = world.says("late", "BrokerReachable", "SecretMissing")
    assert broken["message"].startswith("spec.broker.urlSecretRef: secret late does not exist")
    assert world.condition("late", "ScalingActive")["reason"] == "SecretMissing"
    assert world.condition("late", "Ready")["reason"] == "SecretMissing"
    world.secret("late", uri=broker.url)
    broken = world.says("late", "BrokerReachable", "SecretKeyMissing", within_s=SOON_S)
    assert broken["message"].startswith("spec.broker.urlSecretRef: secret late has no key url")
    world.secret("late", url=broker.url)
    connects(world, "late")
    told = {event["reason"] for event in world.events("late")}
    assert told >= {"SecretMissing", "SecretKeyMissing", "ProblemSolved"}


def test_a_trailing_newline_and_a_user_do_no_harm(world: World, broker: RedisServer) -> None:
    url = broker.url_for(user="reader")
    world.secret("newline", url=f"{url}\n")
    from_secret(world, "newline")
    connects(world, "newline")
    with redis.Redis.from_url(url) as client:
        client.lpush("newline", "{}")
    world.reaches("newline", 1)


@pytest.mark.parametrize("first", ["redis", "secret"])
def test_a_password_is_rotated(world: World, broker: RedisServer, first: str) -> None:
    name = f"rotated-{first}"
    world.secret(name, url=broker.url)
    from_secret(world, name)
    connects(world, name)
    born = revision(world, name)
    with redis.Redis.from_url(broker.url) as client:
        client.lpush(name, *("{}" for _ in range(30)))
        world.reaches(name, 3)
        if first == "secret":
            world.secret(name, url=broker.url_for(password=SECOND))
        client.config_set("requirepass", SECOND)
        client.client_kill_filter(_type="normal", skipme=True)
        broken = world.says(name, "BrokerReachable", "Auth")
        assert "wrong password" in broken["message"]
        if first == "redis":
            world.secret(name, url=broker.url_for(password=SECOND))
        connects(world, name)
        assert world.size(name) == 3
        client.lpush(name, *("{}" for _ in range(10)))
        world.reaches(name, 4)
        assert revision(world, name) != born, "the workers read it at their start: they are renewed"
        client.config_set("requirepass", FIRST)


def revision(world: World, name: str) -> str:
    """What of a pool's workers changes when they are to be renewed."""
    template = world.api.get(path("deployments", world.namespace, name))["spec"]["template"]
    return str(template["metadata"]["annotations"][BROKER_REVISION_ANNOTATION])


def test_a_secret_that_goes_leaves_the_workers_alone(world: World, broker: RedisServer) -> None:
    world.secret("gone", url=broker.url)
    from_secret(world, "gone")
    connects(world, "gone")
    with redis.Redis.from_url(broker.url) as client:
        client.lpush("gone", *("{}" for _ in range(30)))
        world.reaches("gone", 3)
        born = world.api.get(path("deployments", world.namespace, "gone"))
        world.api.delete(path("secrets", world.namespace, "gone"))
        client.config_set("requirepass", SECOND)  # so that it is looked for
        client.client_kill_filter(_type="normal", skipme=True)
        world.says("gone", "BrokerReachable", "SecretMissing")
        client.config_set("requirepass", FIRST)
    held = world.api.get(path("deployments", world.namespace, "gone"))
    assert held["metadata"]["generation"] == born["metadata"]["generation"], "neither renewed nor scaled"
    world.secret("gone", url=broker.url)
    connects(world, "gone")


MISTAKES = (
    ("", "SecretUnusable", "the value is empty"),
    (f"http://:{CANARY}@127.0.0.1", "NotConfigured", "must begin with redis://"),
    (f"redis://:{CANARY}@127.0.0.1:port", "NotConfigured", "cannot be parsed"),
    (f"redis://:{CANARY}@[::1", "SecretUnusable", "is not an address"),
    (f"redis://:{CANARY}@ho\u2100st", "SecretUnusable", "is not an address"),
    (f"redis://:{CANARY}@redis.example/0", "BrokerNotAllowed", "redis.example is not among"),
    (f"unix://{CANARY}@127.0.0.1/run/redis.sock", "BrokerNotAllowed", "is not among"),
    (f"redis://:{CANARY}@?host=redis.example", "BrokerNotAllowed", "is not among"),
    (f"redis://{CANARY}@127.0.0.1:1/0", "Unreachable", "refused the connection"),
    (f"redis://:{quote(WRONG, safe='')}@127.0.0.1:1/0", "Unreachable", "refused the connection"),
)


def test_mistakes_in_the_value_are_told_and_mended(world: World, broker: RedisServer) -> None:
    for number, (mistake, _, _) in enumerate(MISTAKES):
        world.secret(f"mistake-{number}", url=mistake)
        from_secret(world, f"mistake-{number}")
    for number, (_, reason, words) in enumerate(MISTAKES):
        assert words in world.says(f"mistake-{number}", "BrokerReachable", reason)["message"]
    for number in range(len(MISTAKES)):
        world.secret(f"mistake-{number}", url=broker.url)
    for number in range(len(MISTAKES)):
        connects(world, f"mistake-{number}")


async def test_a_wrong_authority_is_told_and_mended(world: World, broker: RedisServer) -> None:
    async with TlsProxy(broker.port) as proxy, TlsProxy(broker.port) as other:
        address = f"rediss://:{quote(FIRST, safe='')}@localhost:{proxy.port}/0"
        await asyncio.to_thread(tls_pool, world, address, other.ca_pem, proxy.ca_pem)


def tls_pool(world: World, address: str, *authorities: str) -> None:
    world.secret("tls", url=address, ca_crt=f"{CANARY}: no certificate")
    from_secret(world, "tls", caSecretRef={"name": "tls", "key": "ca.crt"})
    assert "certificates" in world.says("tls", "BrokerReachable", "NotConfigured")["message"]
    world.secret("tls", url=address, ca_crt=authorities[0])
    assert "not trusted" in world.says("tls", "BrokerReachable", "TLS", within_s=SOON_S)["message"]
    world.secret("tls", url=address, ca_crt=authorities[1])
    connects(world, "tls")


def test_no_password_is_to_be_found_anywhere(world: World, broker: RedisServer) -> None:
    env = [{"name": "DATABASE_URL", "valueFrom": {"secretKeyRef": {"name": "canary", "key": "url"}}}]
    wrong = broker.url_for(user="reader", password=WRONG)
    world.secret("canary", url=wrong)
    world.make("canary", "", broker={"urlSecretRef": {"name": "canary", "key": "url"}}, worker={"env": env})
    world.says("canary", "BrokerReachable", "Auth")
    world.secret("misplaced", url=f"redis://{CANARY}@127.0.0.1:{broker.port}/0")
    from_secret(world, "misplaced")
    world.says("misplaced", "BrokerReachable", "Auth")
    eventually(lambda: "wrong password" in world.log(), 5, "the log tells of it")
    kinds = ("events", "workerpools", "deployments", "replicasets", "pods", "poddisruptionbudgets", "leases")
    found = {kind: json.dumps(world.api.list(path(kind, world.namespace)), ensure_ascii=False) for kind in kinds}
    found |= {"log": world.log(), "metrics": world.metrics()}
    for where, text in found.items():
        place = text.find(CANARY)
        assert place < 0, f"{where}: ...{text[max(0, place - 300) : place + 100]}..."
        assert "Traceback" not in text
