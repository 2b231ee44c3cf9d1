"""The rules of occurrences, on a real Redis. Times are computed; what Redis's clock decides is moved in the record."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from celery import Celery

from workerpool_operator.local.redis_server import RedisServer
from workerpool_worker.messages.delayed import promote
from workerpool_worker.schedules.occurrences import RECORDS, Kept, forget, keep, records
from workerpool_worker.schedules.plan import Schedule

pytestmark = pytest.mark.integration

HOURLY = Schedule(name="a", cron="0 * * * *", zone="UTC", task="t.t", queue="q", arguments={"x": 1})
QUARTERLY = dataclasses.replace(HOURLY, cron="*/15 * * * *")
HOUR_S = 3600


@pytest.fixture
def app() -> Iterator[Celery]:
    made = Celery("test", set_as_current=False)
    yield made
    made.close()


@dataclasses.dataclass
class World:
    client: redis.Redis
    app: Celery
    now_s: float = dataclasses.field(default_factory=time.time)

    def turn(
        self, *schedules: Schedule, source: str = "shop/a", starting: bool = False, later_s: float = 0
    ) -> dict[str, str]:
        return {
            kept.name: kept.answer for kept in self.kept(*schedules, source=source, starting=starting, later_s=later_s)
        }

    def kept(self, *schedules: Schedule, source: str, starting: bool, later_s: float = 0) -> list[Kept]:
        return keep(self.client, self.app, schedules, source=source, starting=starting, now_s=self.now_s + later_s)

    def lying(self, queue: str = "q") -> list[tuple[str, float]]:
        found: Any = self.client.zrange(f"workerpool:delayed:{queue}", 0, -1, withscores=True)
        assert {tag for tag, _ in found} == set(self.client.hkeys(f"workerpool:delayed:{queue}:messages"))
        return [(tag, due) for tag, due in found]

    def next_due(self, schedule: Schedule, later_s: float = 0) -> int:
        found = schedule.next_due_s(self.now_s + later_s)
        assert found is not None
        return found

    def run_out(self, name: str = "a") -> None:
        """As if nobody had stood up for the definition for two minutes."""
        self.change(name, renewed=self.record(name)["renewed"] - 120)

    def record(self, name: str = "a") -> dict[str, Any]:
        raw: Any = self.client.hget(RECORDS, name)
        return dict(json.loads(raw))

    def change(self, name: str = "a", **fields: object) -> None:
        self.client.hset(RECORDS, name, json.dumps(self.record(name) | fields))

    def happens(self) -> list[str]:
        """What lies there comes due: the ids of the jobs that went to the queue."""
        tags = [tag for tag, _ in self.lying()]
        for tag in tags:
            self.client.zadd("workerpool:delayed:q", {tag: 1})
        promote(self.client, ["q"])
        found: Any = self.client.lrange("q", 0, -1)
        return [json.loads(message)["headers"]["id"] for message in reversed(found)]


@pytest.fixture
def world(redis_client: redis.Redis, app: Celery) -> World:
    return World(redis_client, app)


def test_the_next_occurrence_lies_there_as_a_job(world: World) -> None:
    due = world.next_due(HOURLY)
    assert world.turn(HOURLY) == {"a": "put"}
    assert world.lying() == [(f"cron-a-{due}", due)]
    assert world.client.hget("workerpool:cron", "a") == str(due)
    assert world.happens() == [f"cron-a-{due}"]
    raw: Any = world.client.lindex("q", 0)
    headers = json.loads(raw)["headers"]
    assert (headers["task"], headers["enqueued_at"], headers["correlation_id"]) == ("t.t", due, f"cron-a-{due}")
    assert world.lying() == []


def test_many_workers_with_other_clocks_make_one(redis_server: RedisServer, world: World) -> None:
    def worker(number: int) -> list[str]:
        with redis.Redis.from_url(redis_server.url) as client:
            skew_s = (number % 5 - 2) * 600.0
            return [
                keep(client, world.app, [HOURLY], source="", starting=False, now_s=world.now_s + skew_s)[0].answer
                for _ in range(20)
            ]

    with ThreadPoolExecutor(8) as pool:
        answers = [answer for found in pool.map(worker, range(16)) for answer in found]
    assert answers.count("put") == 1
    assert len(world.lying()) == 1


def test_many_workers_make_each_occurrence_once(redis_server: RedisServer, world: World) -> None:
    def worker(_: int) -> None:
        with redis.Redis.from_url(redis_server.url) as client:
            for hour in range(24):
                keep(client, world.app, [HOURLY], source="", starting=False, now_s=world.now_s + hour * HOUR_S)
                # Whoever is a little behind must not bring back an hour that was.
                keep(client, world.app, [HOURLY], source="", starting=False, now_s=world.now_s + (hour - 1) * HOUR_S)
                for tag in client.zrange("workerpool:delayed:q", 0, -1):
                    client.zadd("workerpool:delayed:q", {tag: 1}, xx=True)
                promote(client, ["q"])

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(worker, range(6)))
    jobs = world.happens()
    assert len(jobs) == len(set(jobs)) >= 24
    assert jobs == sorted(jobs, key=lambda job: int(job.rpartition("-")[2]))


def test_after_days_without_workers_there_is_one_run(world: World) -> None:
    world.turn(HOURLY)
    # Workers of other queues live on; nobody brings the occurrence to its queue.
    for hour in range(72):
        assert world.turn(HOURLY, later_s=hour * HOUR_S) == {"a": "kept"}
    assert len(world.happens()) == 1
    assert world.turn(HOURLY, later_s=72 * HOUR_S) == {"a": "put"}
    assert world.lying()[0][1] == world.next_due(HOURLY, 72 * HOUR_S)


def test_an_occurrence_somebody_discarded_stays_away_and_the_next_comes(world: World) -> None:
    world.turn(HOURLY)
    ((tag, _),) = world.lying()
    world.client.zrem("workerpool:delayed:q", tag)
    world.client.hdel("workerpool:delayed:q:messages", tag)
    assert world.turn(HOURLY) == {"a": "kept"}
    assert world.turn(HOURLY, later_s=HOUR_S) == {"a": "put"}


def test_a_worker_that_starts_with_another_definition_replaces_the_occurrence(world: World) -> None:
    world.turn(HOURLY)
    elsewhere = dataclasses.replace(QUARTERLY, queue="r")
    assert world.turn(elsewhere, starting=True) == {"a": "put"}
    assert world.lying("q") == []
    assert world.lying("r") == [(f"cron-a-{world.next_due(QUARTERLY)}", world.next_due(QUARTERLY))]


def test_a_rolling_update_neither_flaps_nor_doubles(world: World) -> None:
    world.turn(HOURLY, starting=True)
    assert world.turn(QUARTERLY, starting=True) == {"a": "put"}
    # The old workers are still there for a while, in between the new ones.
    for _ in range(5):
        assert world.turn(HOURLY) == {"a": "other"}
        assert world.turn(QUARTERLY) == {"a": "kept"}
    assert len(world.lying()) == 1
    # An update that is taken back: the new workers go, and the old ones take over when nobody stands up any more.
    world.run_out()
    assert world.turn(HOURLY) == {"a": "put"}
    assert world.lying() == [(f"cron-a-{world.next_due(HOURLY)}", world.next_due(HOURLY))]


def test_what_ran_under_the_old_definition_does_not_run_again_under_the_new(world: World) -> None:
    world.turn(HOURLY)
    (job,) = world.happens()
    # The same moment again, by a worker whose look at the clock is old.
    changed = dataclasses.replace(HOURLY, arguments={"x": 2})
    world.client.hset("workerpool:cron", "a", int(time.time()) - 5)
    assert world.turn(changed, starting=True, later_s=-2 * HOUR_S) == {"a": "kept"}
    assert world.lying() == []
    assert world.happens() == [job]


def test_a_look_that_is_old_replaces_nothing(world: World) -> None:
    world.turn(HOURLY)
    # The worker hung between its look at the clock and now: what it computed has been.
    assert world.turn(QUARTERLY, starting=True, later_s=-2 * HOUR_S) == {"a": "kept"}
    assert world.lying() == [(f"cron-a-{world.next_due(HOURLY)}", world.next_due(HOURLY))]
    assert world.turn(QUARTERLY, starting=True) == {"a": "put"}


def test_a_yearly_schedule_that_becomes_hourly_does_not_wait_for_its_year(world: World) -> None:
    world.turn(dataclasses.replace(HOURLY, cron="0 0 1 1 *"))
    assert world.turn(HOURLY, starting=True) == {"a": "put"}
    assert world.lying()[0][1] == world.next_due(HOURLY)


def test_pools_that_disagree_do_not_flap(world: World) -> None:
    world.turn(HOURLY, source="shop/a")
    for starting in (True, False, True):
        (kept,) = world.kept(QUARTERLY, source="shop/b", starting=starting)
        assert (kept.answer, kept.whose) == ("other", "shop/a")
        assert world.turn(HOURLY, source="shop/a") == {"a": "kept"}


def test_a_schedule_that_is_gone_from_the_settings_is_taken_out(world: World) -> None:
    world.turn(HOURLY, starting=True)
    # A worker that does not start gives the others, which still have it, a minute.
    assert world.turn() == {"a": "other"}
    assert world.turn(starting=True) == {"a": "removed"}
    assert world.lying() == []
    # Old workers still have it: they do not bring it back, and records of it do not stay for ever.
    assert world.turn(HOURLY) == {"a": "other"}
    assert world.turn() == {"a": "kept"}
    world.change(at=int(time.time()) - 7200)
    world.turn()
    assert world.client.hgetall(RECORDS) == world.client.hgetall("workerpool:cron") == {}


def test_only_the_pool_that_put_it_in_takes_it_out(world: World) -> None:
    world.turn(HOURLY, source="shop/a")
    world.run_out()
    assert world.turn(source="shop/b", starting=True) == {"a": "none"}
    assert world.turn(source="", starting=True) == {}
    assert len(world.lying()) == 1


def test_a_pool_that_drops_it_does_not_keep_others_from_it(world: World) -> None:
    world.turn(HOURLY, source="shop/a")
    assert world.turn(source="shop/a", starting=True) == {"a": "removed"}
    assert world.turn(HOURLY, source="shop/b") == {"a": "put"}
    assert world.turn(source="shop/a", starting=True) == {"a": "none"}
    assert len(world.lying()) == 1


def test_a_clock_that_was_far_ahead_does_not_hold_a_schedule_up(world: World) -> None:
    ahead_s = 30 * 86_400
    world.turn(HOURLY, later_s=ahead_s)
    # A look by a worker with a wrong idea of time alone changes nothing ...
    assert world.turn(HOURLY) == {"a": "kept"}
    # ... but Redis's own clock, by which it was put in, was a month ahead.
    world.change(at=int(time.time()) + ahead_s, renewed=int(time.time()) + ahead_s)
    assert world.turn(HOURLY) == {"a": "put"}
    assert world.lying() == [(f"cron-a-{world.next_due(HOURLY)}", world.next_due(HOURLY))]


def test_a_clock_set_back_a_little_repeats_nothing(world: World) -> None:
    world.turn(HOURLY)
    world.happens()
    assert world.turn(HOURLY, later_s=-HOUR_S) == {"a": "kept"}
    assert world.lying() == []
    assert world.turn(HOURLY, later_s=HOUR_S) == {"a": "put"}


def test_a_record_nobody_can_read_is_written_anew(world: World) -> None:
    world.turn(HOURLY)
    world.happens()
    world.client.hset(RECORDS, "a", "{broken")
    assert records(world.client) == {}
    assert world.turn(HOURLY, later_s=HOUR_S) == {"a": "put"}
    assert records(world.client)["a"].waits


def test_forgetting(world: World) -> None:
    world.turn(HOURLY)
    assert forget(world.client, "a")
    assert not forget(world.client, "a")
    assert world.lying() == []
    assert world.turn(HOURLY) == {"a": "put"}
