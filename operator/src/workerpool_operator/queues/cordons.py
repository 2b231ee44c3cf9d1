"""The cordoned replicas of one pool: told to take no more jobs, held to it, and told to take jobs again.

Whoever owns the replicas decides which are cordoned and removes those that are idle; this does the talking. Workers are
only told to stop taking jobs after they have shown that they listen: one that hears of it an hour later would take no
more jobs when nobody thinks of it any more.

As long as a replica is cordoned its workers are asked every few seconds what they take jobs from: one that made its
connection anew starts with all its queues. One that looks idle is asked at once whether it has a job in hand.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping

from workerpool_operator.core.observation import Unavailable
from workerpool_operator.ports import WorkerBeat, WorkerControl
from workerpool_operator.queues.cordon import Cordon, Queues, Stage

log = logging.getLogger(__name__)

REFRESH_S = 5.0
SOON_S = 0.05
"""The pause before workers are asked whether they have done what they were told: longer each time, then REFRESH_S."""

IDLE_AGAIN_S = 1.0
"""One that looks idle and has jobs in hand is asked again at least this often."""

TRY_AGAIN_S = 60.0
"""After a refusal, and for a busy worker that did not answer: until then all is as if there were no remote control."""

SOON_AGAIN_S = 3.0
"""For an idle worker that did not answer."""

UNANSWERED = "they do not answer Celery's remote control: it is switched off, or a job holds them up"


class Cordons:
    """The cordons of one pool's replicas, by the names that their owner gives them.

    Args:
        pool: What the pool is called in the log.
        control: How its workers are spoken to at this moment; None while that is not known.
        key_prefix: The pool's key prefix at this moment.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        pool: str,
        control: Callable[[], WorkerControl | None],
        *,
        key_prefix: Callable[[], str] = str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool, self._control, self._key_prefix, self._clock = pool, control, key_prefix, clock
        self._cordons: dict[str, Cordon] = {}
        self._deaf: dict[str, float] = {}
        """Workers that did not answer, and until when they are not asked again."""
        self._refused_until_s = float("-inf")
        self._said = ""
        self._keeper: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._stopped = False
        self.on_idle: Callable[[], None] = lambda: None
        """Told when replicas have shown that they are idle; must neither raise nor block."""
        self.gone: frozenset[str] = frozenset()
        """Replicas that were asked to go. They are asked nothing: their silence would keep others waiting."""

    # -- what is known

    def __bool__(self) -> bool:
        return bool(self._cordons)

    @property
    def drains(self) -> bool:
        """Whether replicas can be cordoned, as far as is known."""
        return self._clock() >= self._refused_until_s and self._control() is not None

    def cordoned(self) -> frozenset[str]:
        """The replicas that take no more jobs and are not given back."""
        return frozenset(name for name, one in self._cordons.items() if one.stage is Stage.CORDONED)

    def returned(self) -> frozenset[str]:
        """The replicas that were given back and have said so. Their owner forgets them."""
        return frozenset(name for name, one in self._cordons.items() if one.stage is Stage.RETURNED)

    def known(self) -> frozenset[str]:
        """All replicas of which something is known here."""
        return frozenset(self._cordons)

    def queues(self, name: str) -> Queues:
        """What the workers of a replica took jobs from."""
        return self._cordons[name].queues

    def idle(self) -> frozenset[str]:
        """The cordoned replicas that are idle for sure."""
        now_s = self._clock()
        return frozenset(name for name, one in self._cordons.items() if one.idle(now_s))

    def busy(self) -> frozenset[str]:
        """The cordoned replicas that have a job by their last heartbeat."""
        now_s = self._clock()
        return frozenset(name for name, one in self._cordons.items() if one.stage is Stage.CORDONED and one.busy(now_s))

    def deaf(self, workers: Collection[str]) -> bool:
        """Whether one of these workers did not answer when it was asked last, lately."""
        now_s = self._clock()
        self._deaf = {worker: until_s for worker, until_s in self._deaf.items() if now_s < until_s}
        return any(worker in self._deaf for worker in workers)

    # -- what is done

    async def ask(self, replicas: Mapping[str, Collection[str]], *, busy: Collection[str] = ()) -> dict[str, Queues]:
        """Ask the workers of replicas what they take jobs from.

        Args:
            replicas: The names of each one's workers.
            busy: Those replicas that have a job: that one of these does not listen matters. An idle one may only have
                started: Celery sends heartbeats a second before it listens.

        Returns:
            Those replicas all of whose workers answered, with the answers: they can be cordoned.
        """
        able = {name: workers for name, workers in replicas.items() if workers and not self.deaf(workers)}
        control, asked = self._control(), {worker for workers in able.values() for worker in workers}
        if control is None or not self.drains:
            return {}
        answers = await control.queues_of(asked, key_prefix=self._key_prefix()) if asked else {}
        if isinstance(answers, Unavailable):
            self._refused(answers.message)
            return {}
        now_s = self._clock()
        for name, workers in able.items():
            until_s = now_s + (TRY_AGAIN_S if name in busy else SOON_AGAIN_S)
            self._deaf.update({worker: until_s for worker in workers if worker not in answers})
        found: dict[str, Queues] = {
            name: {worker: answers[worker] for worker in workers}
            for name, workers in able.items()
            if answers.keys() >= set(workers)
        }
        if found:
            self._said = ""
        elif not replicas.keys().isdisjoint(busy):
            self._refused(UNANSWERED)
        return found

    async def cordon(self, replicas: Mapping[str, Queues], beats: Mapping[str, Iterable[WorkerBeat]]) -> bool:
        """Cordon replicas whose workers answered; ``beats`` are their heartbeats so far. Returns whether it was told.

        One that was told nothing because the broker went away is cordoned all the same: it is told again and again.
        """
        control = self._control()
        if self._stopped:
            return False
        now_s = self._clock()
        for name, queues in replicas.items():
            known = self._cordons.setdefault(name, Cordon(queues={}))
            known.again(queues, now_s)
            known.hear(beats.get(name, ()), now_s)
        self._keep()
        if control is None:
            return False
        told = {worker: names for queues in replicas.values() for worker, names in queues.items()}
        failed = await control.cancel(told, key_prefix=self._key_prefix())
        if failed is not None:
            self._refused(failed.message)
        return failed is None

    def adopt(self, name: str, queues: Queues) -> None:
        """Take on a replica that was cordoned by somebody before."""
        if name not in self._cordons and not self._stopped:
            self._cordons[name] = Cordon(queues=dict(queues))
            self._keep()

    async def give_back(self, names: Collection[str]) -> None:
        """Have replicas take jobs again. They are told again and again until they say that they do."""
        queues: dict[str, frozenset[str]] = {}
        for name in self._cordons.keys() & set(names):
            one = self._cordons[name]
            one.give_back(self._clock())
            queues |= one.queues
        control = self._control()
        if control is not None and queues:
            await control.add(queues, key_prefix=self._key_prefix())
        self._keep()

    def hear(self, name: str, beats: Iterable[WorkerBeat]) -> None:
        """Take in the heartbeats of a replica's workers."""
        one = self._cordons.get(name)
        if one is None:
            return
        now_s = self._clock()
        looked_idle = one.looks_idle(now_s)
        one.hear(beats, now_s)
        if not looked_idle and name not in self.gone and one.looks_idle(now_s):
            self._keep()

    def forget(self, names: Iterable[str]) -> None:
        """Drop what is known of replicas that are gone, or were given back."""
        for name in names:
            self._cordons.pop(name, None)

    async def refresh(self) -> None:
        """Ask all of them once, and tell again those that do not do what they were told."""
        control = self._control()
        waiting = {name: one for name, one in self._asked().items() if one.stage is not Stage.RETURNED}
        asked = {worker for one in waiting.values() for worker in one.queues}
        if control is None or not asked:
            return
        asked_s = self._clock()
        answers = await control.queues_of(asked, key_prefix=self._key_prefix())
        if isinstance(answers, Unavailable):
            self._refused(answers.message)
            return
        if self._stopped:
            return
        now_s = self._clock()
        cancel: dict[str, frozenset[str]] = {}
        add: dict[str, frozenset[str]] = {}
        for one in waiting.values():
            if one.told_s > asked_s:
                continue  # this is an answer from before
            said = {worker: answers[worker] for worker in one.queues if worker in answers}
            (cancel if one.stage is Stage.CORDONED else add).update(one.said(said, now_s))
        await control.cancel(cancel, key_prefix=self._key_prefix())
        await control.add(add, key_prefix=self._key_prefix())
        await self._ask_the_idle(control)

    def stop(self) -> None:
        """Stop talking for good, and forget everything: somebody else may decide about these replicas by now."""
        self._stopped = True
        self._cordons.clear()
        if self._keeper is not None:
            self._keeper.cancel()
            self._keeper = None

    # -- inside

    def _asked(self) -> dict[str, Cordon]:
        return {name: one for name, one in self._cordons.items() if name not in self.gone}

    async def _ask_the_idle(self, control: WorkerControl) -> None:
        """Ask those that look idle, and have said that they take no jobs, whether they have one in hand."""
        asked_s = self._clock()
        able = [one for one in self._asked().values() if one.confirmed_s is not None and one.looks_idle(asked_s)]
        jobs = await control.jobs_of({worker for one in able for worker in one.queues}, key_prefix=self._key_prefix())
        if isinstance(jobs, Unavailable) or not jobs or self._stopped:
            return
        now_s = self._clock()
        for one in able:
            if one.told_s <= asked_s:
                one.has(jobs, now_s)
        if any(one.idle(now_s) for one in able):
            self.on_idle()

    def _keep(self) -> None:
        self._changed.set()
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.create_task(self._keep_on(), name=f"cordons of {self._pool}")

    async def _keep_on(self) -> None:
        pause_s = SOON_S
        while self._cordons:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), pause_s)
            if self._changed.is_set():
                self._changed.clear()
                pause_s = SOON_S
                await asyncio.sleep(pause_s)
            try:
                await self.refresh()
            except Exception:
                log.exception("pool %s: its cordoned replicas could not be asked; they are asked again", self._pool)
            pause_s = self._pause_s(pause_s)

    def _pause_s(self, last_s: float) -> float:
        """The pause before they are asked again."""
        now_s, asked = self._clock(), self._asked().values()
        if any(one.looks_idle(now_s) and not one.idle(now_s) for one in asked):
            return min(2 * last_s, IDLE_AGAIN_S)
        settled = all(
            one.stage is Stage.RETURNED or (one.stage is Stage.CORDONED and one.confirmed_s is not None)
            for one in asked
        )
        return REFRESH_S if settled else min(2 * last_s, REFRESH_S)

    def _refused(self, why: str) -> None:
        self._refused_until_s = self._clock() + TRY_AGAIN_S
        if why != self._said:
            self._said = why
            log.warning(
                "pool %s: its workers cannot be cordoned, so only idle ones are stopped and busy ones stay: %s",
                self._pool,
                why,
            )
