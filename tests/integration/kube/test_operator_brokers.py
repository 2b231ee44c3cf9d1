"""Brokers that fail, each in its way: the size is held, the pool says why, and nobody else notices."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

import pytest
import redis

from tests.support.control_plane.api import path
from tests.support.control_plane.cluster import ControlPlane
from tests.support.operator_world import World, operator_world
from tests.support.waiting import eventually
from workerpool_operator.local.redis_server import RedisServer

pytestmark = pytest.mark.integration

POLL_S = 1.0
TWO_POLLS_S = 2 * POLL_S
STATUS_S = 2.0
SLACK_S = 0.5
FALLBACK_S = 6

REASONS = {
    "down": ("Unreachable", "refused the connection"),
    "silent": ("Timeout", "did not answer in 2 s"),
    "closed": ("Auth", "a password is needed"),
    "wrong-type": ("WrongType", "queue wrong-type-b:"),
    "loading": ("Loading", "still loading"),
    "orphan": ("BadReply", "lost its master"),
}


@dataclass
class Failing:
    """A Redis that can be made to fail and be healed."""

    how: str
    server: RedisServer
    fake: ExitStack = field(default_factory=ExitStack)

    def ask(self, *command: str | int) -> None:
        with redis.Redis.from_url(self.server.url) as client:
            client.execute_command(*command)

    def fail(self) -> None:
        match self.how:
            case "down":
                self.server.kill()
            case "silent":
                os.kill(self.server.pid or 0, signal.SIGSTOP)
            case "closed":
                self.ask("CONFIG", "SET", "requirepass", "hunter2")
                with redis.Redis.from_url(self.server.url_for(password="hunter2")) as client:
                    client.client_kill_filter(_type="normal", skipme=True)
            case "wrong-type":
                self.ask("SET", "wrong-type-b", "no list")
            case "loading":
                self.server.kill()
                self.fake.callback(answer_always(self.server.port, b"-LOADING Redis is loading the dataset\r\n"))
            case "orphan":
                self.ask("CONFIG", "SET", "replica-serve-stale-data", "no")
                self.ask("REPLICAOF", "127.0.0.1", 1)

    def heal(self) -> None:
        match self.how:
            case "down":
                self.server.start()
            case "silent":
                os.kill(self.server.pid or 0, signal.SIGCONT)
            case "closed":
                with redis.Redis.from_url(self.server.url_for(password="hunter2")) as client:
                    client.config_set("requirepass", "")
            case "wrong-type":
                self.ask("DEL", "wrong-type-b")
            case "loading":
                self.fake.close()
                self.server.start()
            case "orphan":
                self.ask("REPLICAOF", "NO", "ONE")


def answer_always(port: int, line: bytes) -> Callable[[], None]:
    """Answer so to whatever is asked on a port; returns what ends it."""
    server, open_ones = socket.create_server(("127.0.0.1", port)), []

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while asked := connection.recv(1 << 16):
                connection.sendall(line * (asked.count(b"\r\n*") + 1))

    def accept() -> None:
        with suppress(OSError):
            while True:
                open_ones.append(server.accept()[0])
                threading.Thread(target=serve, args=(open_ones[-1],), daemon=True).start()

    def end() -> None:
        for one in (server, *open_ones):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    return end


@pytest.fixture(scope="module")
def world(
    control_plane: ControlPlane, simulated_nodes: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with operator_world(control_plane, tmp_path_factory.mktemp("brokers")) as made:
        yield made


@pytest.fixture(scope="module")
def failing(
    world: World, redis_session: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Failing]]:
    """A pool of three on each of the brokers, all of which then fail at once."""
    brokers: dict[str, Failing] = {}
    with ExitStack() as stack:
        for how in REASONS:
            server = RedisServer(tmp_path_factory.mktemp(how), append_fsync="always")
            brokers[how] = Failing(how, stack.enter_context(server))
            brokers[how].ask("LPUSH", how, *("{}" for _ in range(30)))
            scaling = {"fallback": {"replicas": 5, "afterSeconds": FALLBACK_S}, "pollIntervalMilliseconds": 1000}
            queues = [{"name": how}, {"name": f"{how}-b"}]
            world.make(how, server.url, scaling=scaling, queues=queues)
        world.make("well", redis_session.url, scaling={"pollIntervalMilliseconds": 1000})
        for how in REASONS:
            world.reaches(how, 3)
        for one in brokers.values():
            one.fail()
        yield brokers
        if pid := brokers["silent"].server.pid:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("how", REASONS)
def test_the_pool_says_why_and_holds_until_the_fallback(world: World, failing: dict[str, Failing], how: str) -> None:
    assert failing[how]
    reason, words = REASONS[how]
    broker = world.says(how, "BrokerReachable", reason)
    assert words in broker["message"]
    assert broker["status"] == "False"
    world.reaches(how, 5)
    active = world.says(how, "ScalingActive", "Fallback")
    assert active["status"] == "False"
    told = {event["reason"]: event["message"] for event in world.events(how)}
    assert words in told["BrokerUnreadable"]
    grown = [event["message"] for event in world.events(how) if event["reason"] == "ScaledUp"]
    assert len(grown) == 2, "from nothing to three, and to the fallback: nothing in between"
    assert "Fallback: unreadable for" in "".join(grown)
    assert int("".join(grown).partition("unreadable for ")[2].partition(" ")[0]) in range(FALLBACK_S, FALLBACK_S + 4)


def test_a_pool_on_a_healthy_broker_does_not_notice(
    world: World, failing: dict[str, Failing], redis_session: RedisServer
) -> None:
    assert failing
    with redis.Redis.from_url(redis_session.url) as client:
        for size in (2, 4, 6):
            begin_s = time.monotonic()
            client.lpush("well", *("{}" for _ in range(20)))
            world.reaches("well", size, within_s=TWO_POLLS_S)
            assert time.monotonic() - begin_s < TWO_POLLS_S
        client.delete("well")
    assert world.condition("well", "Ready")["status"] == "True"


@pytest.mark.parametrize("how", REASONS)
def test_it_recovers_within_two_polls(world: World, failing: dict[str, Failing], how: str) -> None:
    world.says(how, "BrokerReachable", REASONS[how][0])
    failing[how].heal()
    begin_s = time.monotonic()
    eventually(lambda: world.metric("broker_up", how) == 1, TWO_POLLS_S, f"{how} is read again", every_s=0.02)
    left_s = TWO_POLLS_S + STATUS_S + SLACK_S - (time.monotonic() - begin_s)
    world.says(how, "BrokerReachable", "Connected", within_s=left_s)
    world.reaches(how, 3)
    eventually(lambda: "BrokerReadable" in {e["reason"] for e in world.events(how)}, 5, "an event of it")
    assert world.api.get(path("deployments", world.namespace, how))["spec"]["replicas"] == 3
