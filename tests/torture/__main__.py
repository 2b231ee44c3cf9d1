"""`make torture ARGS="--minutes 30 --seed 7 --database postgresql"`."""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tests.torture.chaos import WEIGHTS, Chaos, Harm
from tests.torture.facts import Check
from tests.torture.forensics import pops, stories_of
from tests.torture.plan import Plan
from tests.torture.report import Teller, show
from tests.torture.session import NotDoneError, Session
from tests.torture.world import World, world

_STUCK_AFTER_S = 120.0
_TRICKLE = 0.2
"""How likely a job is sent in a turn, of which there are some twenty a second."""


def main() -> int:
    """Run it; 0 where everything held."""
    options = _options()
    folder = Path(options.folder or f"torture-output/{time.strftime('%Y%m%d-%H%M%S')}-seed-{options.seed}").absolute()
    folder.mkdir(parents=True)
    _say(f"seed {options.seed}, {options.minutes:g} minutes on {options.database}; evidence in {folder}")
    with world(
        folder,
        seed=options.seed,
        database=options.database,
        rare=max(3, round(options.minutes * 4)),
        concurrency=options.concurrency,
    ) as one:
        checks, text = _run(one, options)
    _say(text)
    (folder / "verdict.txt").write_text(text + "\n")
    right = all(check.right for check in checks)
    if right and not options.keep:
        shutil.rmtree(folder)
    _say(
        f"\n{'everything held' if right else f'NOT everything held; the evidence is in {folder}'} (seed {options.seed})"
    )
    return 0 if right else 1


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make torture", description="The worker under torture.")
    parser.add_argument("--minutes", type=float, default=5.0, help="how long jobs are sent and harm is done")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000))
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--every", type=float, default=2.0, help="seconds from harm to harm, in the mean")
    parser.add_argument("--workers", type=int, default=4, help="the most workers at a time")
    parser.add_argument("--concurrency", type=int, default=2, help="jobs at a time in each of them")
    parser.add_argument("--only", nargs="+", choices=[one.name for one in Harm], help="nothing but this harm")
    parser.add_argument("--without", nargs="+", choices=[one.name for one in Harm], default=[], help="not this harm")
    parser.add_argument(
        "--trickle", action="store_true", help="a job now and then: the workers are idle most of the time"
    )
    parser.add_argument("--folder", help="where the evidence goes; must not exist")
    parser.add_argument("--keep", action="store_true", help="keep the evidence although everything held")
    return parser.parse_args()


def _run(one: World, options: argparse.Namespace) -> tuple[list[Check], str]:
    dice = random.Random(options.seed)
    chaos = Chaos(one, dice, most_workers=options.workers)
    teller = Teller()
    session = Session(one, chaos, Plan(options.seed).items(), teller, random.Random(options.seed + 1))
    began_s = time.monotonic()
    try:
        _torture(session, options)
        session.drain(stuck_after_s=_STUCK_AFTER_S)
        session.recover()
        session.stop()
        checks = session.verdict(concurrency=options.concurrency)
    except NotDoneError as error:
        checks = [Check(name="nothing is stuck", looked_at=1, wrong=(str(error),))]
        checks += session.verdict(concurrency=options.concurrency)
    finally:
        teller.end()
        _keep_events(session)
        session.close()
    text = show(checks, session.sent, session.events, seconds=time.monotonic() - began_s)
    return checks, f"{text}\n\n{_popped(one)}{_stories(one, checks)}"


def _torture(session: Session, options: argparse.Namespace) -> None:
    among = [Harm[name] for name in options.only] if options.only else list(WEIGHTS)
    among = [harm for harm in among if harm.name not in options.without]
    session.world.fleet.target = options.workers
    ends_s = time.monotonic() + options.minutes * 60
    next_s = time.monotonic() + 3
    while time.monotonic() < ends_s:
        session.turn()
        if not options.trickle:
            session.feed(batch=session.dice.randint(5, 80))
        elif session.dice.random() < _TRICKLE:
            session.feed(batch=1)
        if time.monotonic() > next_s:
            session.chaos.any(among)
            next_s = time.monotonic() + session.chaos.dice.expovariate(1 / options.every)


def _keep_events(session: Session) -> None:
    with (session.world.folder / "events.jsonl").open("w") as file:
        file.writelines(json.dumps(asdict(event)) + "\n" for event in session.events)
    with (session.world.folder / "sent.jsonl").open("w") as file:
        file.writelines(
            json.dumps({"kind": item.kind, "id": item.job_id, "queue": item.queue, "delay_s": item.delay_s}) + "\n"
            for item in session.sent
        )


def _popped(one: World) -> str:
    found = pops(one.redis.folder)
    return (
        f"{found.recorded} messages were fetched in one step, {found.bare} by idle workers in two (BRPOP); "
        f"{len(found.lost)} were lost between the two"
    )


def _stories(one: World, checks: Sequence[Check]) -> str:
    """What became of the jobs that are missing, read from Redis's own file."""
    missing = [text for check in checks for text in check.wrong]
    return stories_of(one.redis.folder, missing) if missing else ""


if __name__ == "__main__":
    sys.exit(main())
