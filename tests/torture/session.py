"""One run: send, do harm, heal, wait until all is done, and look."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from tests.torture import state
from tests.torture.chaos import KILLS, Chaos, Event
from tests.torture.check import FINAL, verdict
from tests.torture.facts import Check, Found, Sent
from tests.torture.plan import Item, Kind, refund_of
from tests.torture.world import RECOVER_AFTER_S, World
from workerpool_worker.jobs.maintenance.messages import Recover

_TURN_S = 0.05
_LOOK_S = 1.0


class NotDoneError(Exception):
    """Something is stuck: nothing moved for too long."""


@dataclass(kw_only=True)
class Progress:
    """What a progress line tells."""

    sent: int = 0
    done: int = 0
    places: state.Places = field(default_factory=lambda: state.Places(waiting=0, unacked=0, delayed=0, dead=0))
    workers: int = 0
    harm: int = 0
    phase: str = "harming"


@dataclass
class Session:
    """Sends, harms and waits; `tell` hears of the progress."""

    world: World
    chaos: Chaos
    items: Iterator[Item]
    tell: Callable[[Progress], None]
    dice: random.Random
    sent: list[Item] = field(default_factory=list)
    began_at: float = field(default_factory=time.time)
    _refunds_due: dict[str, Item] = field(default_factory=dict)
    _progress: Progress = field(default_factory=Progress)
    _looked_s: float = 0.0
    _low: int = 30
    _recovered: bool = False

    def __post_init__(self) -> None:
        self._database = state.Database(self.world.database)

    def turn(self) -> None:
        """What is to be done all the time."""
        self.world.fleet.tick()
        self.chaos.tick()
        now = time.monotonic()
        if now - self._looked_s >= _LOOK_S:
            self._looked_s = now
            self._look()
        time.sleep(_TURN_S)

    def feed(self, *, batch: int) -> bool:
        """Send some more when little is left to do; whether anything was sent."""
        if self._progress.places.waiting > self._low:
            return False
        some = list(islice(self.items, batch))
        if not some:
            return False
        # Now and then the workers run dry: an idle worker waits for its next job in another way than a busy one.
        self._low = self.dice.choice((0, 0, 30, 60))
        self.world.sender.send(some)
        self.sent += some
        self._refunds_due |= {item.job.id: item for item in some if item.refunds and item.job is not None}
        self._progress.sent = len(self.sent)
        self._progress.places = state.places(self.world.client)
        return True

    def drain(self, *, stuck_after_s: float) -> None:
        """Wait until nothing is left to do.

        Raises:
            NotDoneError: nothing moved for so long.
        """
        self._progress.phase = "draining"
        self.chaos.heal()
        self.world.fleet.heal()
        self.world.fleet.target = max(self.world.fleet.target, 2)
        last, moved_s, quiet = None, time.monotonic(), 0
        while quiet < 3:
            self.turn()
            self._looked_s = 0.0
            now = (self._progress.places, self._progress.done, len(self._refunds_due))
            if now != last:
                last, moved_s = now, time.monotonic()
            quiet = quiet + 1 if self._all_done() else 0
            if time.monotonic() - moved_s > stuck_after_s:
                raise NotDoneError(f"nothing moved for {stuck_after_s:g} s: {self._progress}; {self._left()}")

    def recover(self) -> None:
        """Wait until what is left is old enough, and have `maintenance.recover` settle it."""
        self._progress.phase = "recovering"
        ends_s = time.monotonic() + RECOVER_AFTER_S + 1
        while time.monotonic() < ends_s:
            self.turn()
        self.world.sender.producer.send(Recover(id=f"torture-{time.time_ns()}"))
        self.drain(stuck_after_s=60.0)
        self._recovered = True

    def stop(self) -> None:
        """Tell all workers to leave, and wait for it."""
        self._progress.phase = "stopping"
        self.world.fleet.target = 0
        while self.world.fleet.workers:
            self.turn()

    def verdict(self, *, concurrency: int) -> list[Check]:
        """Look at everything."""
        kills = (
            sum(self.chaos.counts[harm.value] for harm in KILLS)
            + sum(item.kind is Kind.CRASH_WORKER for item in self.sent) * self.world.max_losses
        )
        sent = Sent(
            items=tuple(self.sent),
            rare=self.world.rare,
            max_losses=self.world.max_losses,
            kills=kills,
            concurrency=concurrency,
            recovered=self._recovered,
        )
        return verdict(sent, self._found())

    def close(self) -> None:
        """Let the database go."""
        self._database.close()

    @property
    def events(self) -> list[Event]:
        """What was done to them."""
        return self.chaos.events

    def _look(self) -> None:
        finished = self._database.finished_orders()
        ready = [self._refunds_due.pop(name) for name in finished.keys() & self._refunds_due.keys()]
        for item in ready:
            self.world.sender.producer.send_many([refund_of(item, number) for number in range(len(item.refunds))])
        self._progress.places = state.places(self.world.client)
        self._progress.done = len(finished)
        self._progress.workers = len(self.world.fleet.awake())
        self._progress.harm = len(self.events)
        self.tell(self._progress)

    def _all_done(self) -> bool:
        return not self._progress.places.on_their_way and not self._refunds_due and not self._database.rows("outbox")

    def _left(self) -> str:
        return str(state.residue(self.world.client) | state.held(self.world.client))

    def _found(self) -> Found:
        world, effects = self.world, self.world.effects
        states = self._database.job_states()
        unsettled = [item.job_id for item in self.sent if item.job is not None and states.get(item.job_id) not in FINAL]
        return Found(
            orders={order.id: order for order in effects.orders()},
            movements=tuple(effects.stock_movements()),
            stock=effects.stock(),
            ledger=tuple(effects.ledger_entries()),
            invoices=tuple(effects.invoices()),
            mails=dict(world.post.by_job),
            doubled_mails=world.post.doubles,
            messages=self._database.messages(),
            letters=tuple(state.letters(world.client)),
            letters_out_of_step=tuple(state.letter_ids_out_of_step(world.client)),
            residue=state.residue(world.client),
            claimed=frozenset(self._database.claimed()),
            outbox=self._database.rows("outbox"),
            states=states,
            asked={name: self._database.ask(world.client, name) for name in unsettled},
            workers=world.fleet.started,
            ended_badly=tuple(world.fleet.ended_badly),
            ended_by_celery=world.fleet.ended_by_celery,
        )
