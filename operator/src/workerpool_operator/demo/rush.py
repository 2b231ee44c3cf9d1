"""The rush hour: places the orders of each wave when its time has come, and knows what should come of them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from workerpool_operator.demo.shop import Wave, orders_of, welcome_mails
from workerpool_worker.models import Job, Order, WelcomeEmail
from workerpool_worker.producer import BrokerUnreachableError, Producer

BATCH_EVERY_S = 0.2
TRY_AGAIN_S = 0.5
ORDERS_PER_WELCOME = 3
"""One customer in so many is new and is welcomed, in the first wave."""

JOBS_PER_ORDER = 4
"""The order itself, its payment, its confirmation and its receipt."""


@dataclass(kw_only=True, slots=True)
class Rush:
    """Places orders. A broker that is away is tried again until it takes them: a shop does not forget an order."""

    waves: Sequence[Wave]
    broker_url: str
    seed: int
    orders: list[Order] = field(default_factory=list)
    mails: list[WelcomeEmail] = field(default_factory=list)
    placed_at_s: dict[str, float] = field(default_factory=dict)
    first_s: float | None = None
    finished: bool = False
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def planned(self) -> int:
        """Orders of all waves together."""
        return sum(wave.orders for wave in self.waves)

    @property
    def planned_jobs(self) -> int:
        """Jobs of the whole rush hour: each order is four, and some customers are welcomed."""
        return JOBS_PER_ORDER * self.planned + self.waves[0].orders // ORDERS_PER_WELCOME

    async def run(self, say: Callable[[str], None], wave_begins: Callable[[Wave], None]) -> None:
        """Place every wave at its time, counted from now; ``wave_begins`` is told of each."""
        rng, begin_s = random.Random(self.seed), time.monotonic()  # noqa: S311 - a shop's orders, no secret
        with Producer(self.broker_url) as producer:
            for wave in self.waves:
                await asyncio.sleep(max(0.0, begin_s + wave.at_s - time.monotonic()))
                say(f"{wave.name}: {wave.orders} orders in {wave.over_s:.0f} s")
                wave_begins(wave)
                await self._place(producer, wave, rng, say)
        self.finished = True

    async def _place(self, producer: Producer, wave: Wave, rng: random.Random, say: Callable[[str], None]) -> None:
        orders = orders_of(wave, first=len(self.orders) + 1, rng=rng)
        if not self.mails:
            self.mails = welcome_mails(wave.orders // ORDERS_PER_WELCOME)
            await self._send(producer, self.mails, say)
        steps = max(1, round(wave.over_s / BATCH_EVERY_S))
        for step in range(steps):
            batch = orders[step * len(orders) // steps : (step + 1) * len(orders) // steps]
            await self._send(producer, batch, say)
            self.orders += batch
            await asyncio.sleep(BATCH_EVERY_S)

    async def _send(self, producer: Producer, jobs: Sequence[Job], say: Callable[[str], None]) -> None:
        """Send jobs until the broker has them all. Sending one twice is harmless: its effect happens once."""
        told = False
        while True:
            now_s = time.time()
            try:
                await asyncio.to_thread(producer.send_many, jobs)
            except BrokerUnreachableError:
                if not told:
                    say("the shop cannot reach Redis; it keeps its orders and tries again")
                told = True
                await asyncio.sleep(TRY_AGAIN_S)
            else:
                self.first_s = self.first_s or now_s
                self.begun.set()
                self.placed_at_s.update((job.job_id, now_s) for job in jobs)
                return
