"""Load for many pools at once, and the moment at which each Deployment changed its size because of it."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

import redis
import urllib3

from tests.support.control_plane.api import Api, path
from workerpool_worker.models import WelcomeEmail
from workerpool_worker.producer import Producer

HOLD_S = (6.0, 10.0)
REST_S = (10.0, 16.0)
WATCH_S = 3600


class SizeWatch:
    """Follows the sizes of a namespace's Deployments, each change with its time on the monotonic clock."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api, self._where = api, path("deployments", namespace)
        self._sizes: dict[str, int] = {}
        self.changes: dict[str, list[tuple[float, int]]] = {}
        """By name: when the size became what."""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._ended.set()

    def _follow(self) -> None:
        with suppress(urllib3.exceptions.HTTPError):  # the server goes away at the end
            for event in self._api.watch(self._where, timeout_s=WATCH_S):
                if self._ended.is_set():
                    return
                thing = event["object"]
                name, size = thing["metadata"]["name"], thing["spec"]["replicas"]
                if self._sizes.get(name, size) != size:
                    self.changes.setdefault(name, []).append((time.monotonic(), size))
                self._sizes[name] = size


@dataclass(kw_only=True)
class Wave:
    """Jobs that were put into an empty queue, and taken away again."""

    pool: str
    jobs: int
    begun_s: float
    ended_s: float | None = None

    def reaction_s(self, watch: SizeWatch) -> float | None:
        """From the first job to the first change of size, None while there is none."""
        until_s = self.ended_s or float("inf")
        changes = watch.changes.get(self.pool, ())
        return next((at_s - self.begun_s for at_s, _ in changes if self.begun_s <= at_s < until_s), None)

    def writes(self, watch: SizeWatch) -> int:
        """Changes of size while the jobs were there."""
        until_s = self.ended_s or float("inf")
        return sum(1 for at_s, _ in watch.changes.get(self.pool, ()) if self.begun_s <= at_s < until_s)


@dataclass(kw_only=True)
class Waves:
    """Sends pools from zero to some size and back, each at moments of its own."""

    url: str
    pools: Sequence[str]
    seed: int = 1
    done: list[Wave] = field(default_factory=list)

    def run(self, seconds: float) -> None:
        """Make waves for so long; those under way at the end are ended and left out of ``done``."""
        chance = random.Random(self.seed)
        end_s = time.monotonic() + seconds
        due = {name: time.monotonic() + chance.uniform(0, sum(REST_S)) for name in self.pools}
        under_way: dict[str, Wave] = {}
        with redis.Redis.from_url(self.url) as client:
            message = self._message(client)
            while (now_s := time.monotonic()) < end_s:
                for name in [name for name, at_s in due.items() if at_s <= now_s]:
                    if wave := under_way.pop(name, None):
                        client.delete(name)
                        wave.ended_s = time.monotonic()
                        self.done.append(wave)
                        due[name] = now_s + chance.uniform(*REST_S)
                    else:
                        jobs = chance.randint(5, 60)
                        under_way[name] = Wave(pool=name, jobs=jobs, begun_s=time.monotonic())
                        client.lpush(name, *[message] * jobs)
                        due[name] = now_s + chance.uniform(*HOLD_S)
                time.sleep(0.005)
            for name in under_way:
                client.delete(name)

    def _message(self, client: redis.Redis) -> bytes:
        """A message as Celery writes it."""
        with Producer(self.url) as producer:
            producer.send_many([WelcomeEmail(id="1", customer="Ada", to="ada@example.org")])
        found = client.lpop("email")
        assert isinstance(found, bytes)
        return found
