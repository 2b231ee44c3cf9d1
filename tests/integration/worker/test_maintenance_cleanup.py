from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from tests.integration.worker.maintenance_world import DAY_S, World, world
from workerpool_worker.jobs.maintenance.cleanup import clean_up
from workerpool_worker.jobs.maintenance.messages import CleanUp
from workerpool_worker.messages.dead_letters import DeadLetters
from workerpool_worker.store.jobs import ended
from workerpool_worker.store.records import Ending, Try
from workerpool_worker.store.tables import jobs

__all__ = ["world"]

pytestmark = pytest.mark.integration


def run(world: World, **environ: str) -> dict[str, Any]:
    return dict(clean_up(world.context(**environ), CleanUp(id="c1")))


def completed(world: World, job_id: str, *, ago_s: float) -> None:
    at_s = world.now_s - ago_s
    this = Try(job_id=job_id, task="email.send", queue="email", attempt=1, enqueued_at=at_s)
    ended(world.engine, this, Ending(state="completed", at=at_s, result={}))


def test_what_is_past_its_time_goes(world: World) -> None:
    completed(world, "old", ago_s=8 * DAY_S)
    completed(world, "new", ago_s=6 * DAY_S)
    world.bury("old", died_at=world.now_s - 31 * DAY_S)
    world.bury("new", died_at=world.now_s - 29 * DAY_S)
    found = run(world)
    assert (found["outcome"], found["completed"], found["dead_letters"]) == ("cleaned", 1, 1)
    assert world.rows(jobs.c.id) == [("new",)]
    assert DeadLetters(world.client).counts() == {"email": 1}
    assert {name: count for name, count in run(world).items() if count} == {"outcome": "cleaned"}


def test_the_settings_say_how_long(world: World) -> None:
    completed(world, "young", ago_s=2 * DAY_S)
    world.bury("young", died_at=world.now_s - 2 * DAY_S)
    found = run(world, WORKERPOOL_KEEP_COMPLETED_DAYS="1", WORKERPOOL_KEEP_DEAD_LETTERS_DAYS="1")
    assert (found["completed"], found["dead_letters"]) == (1, 1)


def test_it_stops_when_its_time_is_up_and_the_next_goes_on(world: World) -> None:
    rows = [
        {"id": f"j{number}", "task": "t", "queue": "q", "state": "completed", "stage": 2, "attempts": 1,
         "updated_at": world.now_s - 9 * DAY_S}
        for number in range(3_500)
    ]  # fmt: skip
    with world.engine.begin() as connection:
        connection.execute(sa.insert(jobs), rows)

    def left() -> int:
        ((count,),) = world.rows(sa.func.count(jobs.c.id))
        return int(count)

    # Each run gets one batch of a thousand done: then it would have to pause, and there is no time to.
    for wanted in (2_500, 1_500, 500):
        found = run(world, WORKERPOOL_CLEANUP_SECONDS="0.000001")
        assert (found["outcome"], found["unfinished"]) == ("cleaned", 1)
        assert left() == wanted
    assert "unfinished" not in run(world, WORKERPOOL_CLEANUP_SECONDS="60")
    assert left() == 0


def test_a_broker_that_is_away_does_not_keep_the_database_from_being_cleaned(world: World) -> None:
    completed(world, "old", ago_s=8 * DAY_S)
    found = run(world, WORKERPOOL_BROKER_URL="redis://127.0.0.1:9/0")
    assert (found["outcome"], found["completed"], set(found["errors"])) == ("partly", 1, {"dead letters"})
