"""The run of `make test`: a few hundred jobs and a fixed list of harm, each as soon as enough has moved."""

from __future__ import annotations

import random
import time
from pathlib import Path

from tests.torture.chaos import Chaos, Harm
from tests.torture.facts import Check
from tests.torture.forensics import stories_of
from tests.torture.plan import Kind, Plan
from tests.torture.report import show
from tests.torture.session import Progress, Session
from tests.torture.world import world

KILLS = (Harm.KILL_WORKER,) * 3 + (Harm.KILL_CHILD,) * 3
OTHERS = (
    (Harm.STOP,) * 2
    + (Harm.KILL_CLIENTS,) * 2
    + (Harm.CUT,) * 2
    + (Harm.STALL,) * 2
    + (Harm.KILL_REDIS,) * 3
    + (Harm.END_REDIS,) * 2
    + (Harm.SCALE,) * 2
)
CONCURRENCY = 2
_WITHOUT = frozenset({Kind.CRASH_WORKER})  # it takes a minute to die as often as it may
_ONCE = frozenset({Kind.CRASH, Kind.STUCK, Kind.LARGE})
# From harm to harm: as soon as so many mails have come, but not sooner nor later than this.
_MOVED, _SOONEST_S, _LATEST_S = 6, 0.3, 1.0
_STUCK_AFTER_S = 90.0


def short_run(folder: Path, *, seed: int, items: int, database: str = "sqlite") -> tuple[list[Check], str]:
    """Torture a few workers with so many items; the verdict, and what a person wants to read of it."""
    dice = random.Random(seed)
    harm = _mixed(dice)
    with world(
        folder, seed=seed, database=database, rare=3, concurrency=CONCURRENCY, max_losses=4, hard_limit_s=20
    ) as one:
        one.fleet.target = 2
        chaos = Chaos(one, dice, most_workers=3)
        line = Plan(seed, without=_WITHOUT, once=_ONCE).items()
        session = Session(one, chaos, (next(line) for _ in range(items)), _tell_nobody, dice)
        began_s = harmed_s = time.monotonic()
        moved = 0
        try:
            while harm or len(session.sent) < items:
                session.turn()
                session.feed(batch=40)
                since_s, mails = time.monotonic() - harmed_s, one.post.taken
                due = since_s > _SOONEST_S and (since_s > _LATEST_S or mails >= moved + _MOVED)
                if harm and due and chaos.do(harm[-1]):
                    harm.pop()
                    harmed_s, moved = time.monotonic(), mails
            session.drain(stuck_after_s=_STUCK_AFTER_S)
            session.stop()
            checks = session.verdict(concurrency=CONCURRENCY)
        finally:
            session.close()
        text = show(checks, session.sent, session.events, seconds=time.monotonic() - began_s)
        wrong = [text for check in checks for text in check.wrong]
        return checks, text + (stories_of(one.redis.folder, wrong) if wrong else "")


def _mixed(dice: random.Random) -> list[Harm]:
    """All of it, the last one first. A mail whose worker is killed is left alone for 30 s, so kills come early."""
    kills, others = dice.sample(KILLS, len(KILLS)), dice.sample(OTHERS, len(OTHERS))
    first = [harm for pair in zip(kills, others, strict=False) for harm in pair]
    return [*first, *others[len(kills) :]][::-1]


def _tell_nobody(_progress: Progress) -> None:
    """A test has no progress line."""
