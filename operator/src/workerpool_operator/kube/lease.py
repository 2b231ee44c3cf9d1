"""Leadership by a Lease, so that of several operators one writes and the others stand by.

Not ``kubernetes.aio.leaderelection``: that one does not release its Lease when it stops, so a standby waits out the
whole duration at every upgrade, and it only learns that it lost the Lease when its next renewal fails, so a leader that
was paused goes on writing for a moment beside its successor. Here :meth:`Leadership.is_leader` is a comparison with the
clock and can be asked before every write. The rules, and why there are never two leaders, are in
:mod:`workerpool_operator.kube.lease_election`.

The default clock is ``CLOCK_MONOTONIC``: on Linux it goes on while the process is stopped (SIGSTOP, a starved
container), is not moved by NTP steps, and stands still only while the whole machine is suspended. A request that was
sent by a leader may still reach the API server after it stopped to lead; writes that must not come late should carry a
resource version.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from workerpool_operator.kube import api_paths, lease_object
from workerpool_operator.kube.api_errors import ApiError, Conflict, NotFound
from workerpool_operator.kube.lease_election import Do, Election, Lease, Timing

log = logging.getLogger(__name__)

_RELEASE_S = 3.0


class LeaseApi(Protocol):
    """What leadership needs of :class:`~workerpool_operator.kube.api.KubeApi`."""

    async def get(self, path: str, *, urgent: bool = False) -> dict[str, Any]:
        """Read."""
        ...

    async def create(self, path: str, body: Mapping[str, Any], *, urgent: bool = False) -> dict[str, Any]:
        """Create in a collection."""
        ...

    async def merge_patch(
        self, path: str, body: Mapping[str, Any], *, resource_version: str | None = None, urgent: bool = False
    ) -> dict[str, Any]:
        """Change what is still at this version."""
        ...


def new_identity() -> str:
    """A name for this process alone: another process on the same host, or after a restart, has another."""
    return f"{socket.gethostname()}_{os.getpid()}_{secrets.token_hex(4)}"


class Leadership:
    """One candidate. Start :meth:`run` as a task; ask :meth:`is_leader` before every write."""

    def __init__(
        self,
        api: LeaseApi,
        *,
        namespace: str,
        name: str = "workerpool-operator",
        identity: str,
        lease_duration_s: float = 8,
        renew_every_s: float = 2,
        renew_deadline_s: float = 5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is read or written yet.

        Args:
            api: The API server.
            namespace: Where the Lease is.
            name: Its name.
            identity: The name of this process and no other, see :func:`new_identity`.
            lease_duration_s: How long a standby must see the Lease unchanged before it takes over.
            renew_every_s: How often the leader renews.
            renew_deadline_s: How long the leader trusts its last renewal.
            clock: Seconds that never go back.

        Raises:
            ValueError: The times contradict each other.
        """
        self._api, self._namespace, self._name, self._clock = api, namespace, name, clock
        self._path = api_paths.lease(namespace, name)
        self.identity = identity
        self._timing = Timing(
            lease_duration_s=lease_duration_s,
            renew_every_s=renew_every_s,
            renew_deadline_s=renew_deadline_s,
            look_every_s=min(1.0, lease_duration_s / 8),
        )
        self._election = Election(identity=identity, timing=self._timing)
        self._one_at_a_time = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._leading, self._standing_by = asyncio.Event(), asyncio.Event()
        self._standing_by.set()
        self._listeners: list[Callable[[bool], None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._trouble = ""

    @property
    def holder(self) -> str:
        """Who holds the Lease as last seen; "" when nobody does or nothing is known."""
        return self._election.lease.holder if self._election.lease else ""

    def is_leader(self) -> bool:
        """Whether this process may write now. Cheap."""
        return self._election.leads(self._clock())

    def remaining_s(self) -> float:
        """For how long it may still write, if it does not renew; 0 when it does not lead."""
        now_s = self._clock()
        return max(0.0, self._election.leads_until_s - now_s) if self._election.leads(now_s) else 0.0

    async def acquired(self) -> None:
        """Wait until it leads."""
        await self._leading.wait()

    async def lost(self) -> None:
        """Wait until it does not lead."""
        await self._standing_by.wait()

    def listen(self, listener: Callable[[bool], None]) -> None:
        """Call ``listener`` with True when it begins to lead, with False when it stops; from the event loop."""
        self._listeners.append(listener)

    async def run(self) -> None:
        """Acquire and renew until :meth:`release` or cancelled. What the API server does never raises here."""
        try:
            while not self._stopping.is_set():
                now_s = self._clock()
                self._publish()
                step = self._election.step(now_s)
                if step.at_s > now_s:
                    await self._sleep(step.at_s - now_s)
                    continue
                async with self._one_at_a_time:
                    if not self._stopping.is_set():
                        await self._perform(step.do)
        finally:
            self._election.resign()
            self._publish()

    async def release(self) -> None:
        """Stop to lead and let a standby take over at once. Call it when the last write has been answered.

        A Lease that cannot be given back runs out by itself; that is logged, not raised.
        """
        self._stopping.set()
        self._election.resign()
        self._publish()
        try:
            async with asyncio.timeout(_RELEASE_S), self._one_at_a_time:
                await self._give_back()
        except (ApiError, TimeoutError) as error:
            log.warning(
                "lease %s/%s could not be given back and runs out by itself: %s",
                self._namespace,
                self._name,
                error or "no answer in time",
            )

    async def _give_back(self) -> None:
        while self._election.holds:
            assert self._election.lease is not None  # noqa: S101 - what is held is there
            try:
                version = self._election.lease.version
                await self._api.merge_patch(self._path, lease_object.released(), resource_version=version, urgent=True)
            except Conflict:
                await self._look()
            except NotFound:
                return
            else:
                log.info("lease %s/%s given back", self._namespace, self._name)
                return

    async def _perform(self, do: Do) -> None:
        sent_s = self._clock()
        try:
            async with asyncio.timeout(self._timing.request_s):
                if do is Do.LOOK:
                    await self._look()
                else:
                    self._election.sending(do)
                    lease = await self._write(do)
                    self._election.wrote(do, lease, sent_s=sent_s, now_s=self._clock())
        except Conflict:
            self._election.refused(do, now_s=self._clock())
        except (ApiError, TimeoutError) as error:
            if isinstance(error, NotFound) and do is not Do.CREATE:
                self._election.refused(do, now_s=self._clock())
                return
            self._election.failed(now_s=self._clock())
            self._tell(str(error) or f"no answer within {self._timing.request_s:g} s")
        else:
            self._tell("")

    async def _look(self) -> None:
        try:
            lease = lease_object.parse(await self._api.get(self._path, urgent=True))
        except NotFound:
            lease = None
        self._election.looked(lease, now_s=self._clock())

    async def _write(self, do: Do) -> Lease:
        lease, duration_s = self._election.lease, self._timing.lease_duration_s
        if lease is None:
            body = lease_object.new(
                namespace=self._namespace, name=self._name, identity=self.identity, duration_s=duration_s
            )
            return lease_object.parse(await self._api.create(api_paths.leases(self._namespace), body, urgent=True))
        if do is Do.TAKE:
            body = lease_object.taken(lease, identity=self.identity, duration_s=duration_s)
        else:
            body = lease_object.renewed(identity=self.identity, duration_s=duration_s)
        return lease_object.parse(
            await self._api.merge_patch(self._path, body, resource_version=lease.version, urgent=True)
        )

    async def _sleep(self, duration_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(duration_s):
                await self._stopping.wait()

    def _publish(self) -> None:
        """Tell those who wait; look again when this leadership would begin or end by the clock alone."""
        now_s = self._clock()
        leads = self._election.leads(now_s)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        change_s = self._election.leads_until_s if leads else self._election.leads_from_s
        if now_s < change_s < math.inf:
            self._timer = asyncio.get_running_loop().call_later(change_s - now_s + 0.001, self._publish)
        if leads == self._leading.is_set():
            return
        (self._standing_by if leads else self._leading).clear()
        (self._leading if leads else self._standing_by).set()
        log.info("%s lease %s/%s", "leading by" if leads else "standing by for", self._namespace, self._name)
        for listener in self._listeners:
            listener(leads)

    def _tell(self, trouble: str) -> None:
        """Log a trouble once while it lasts, and its end."""
        if trouble and not self._trouble:
            log.warning("lease %s/%s: %s", self._namespace, self._name, trouble)
        elif self._trouble and not trouble:
            log.info("lease %s/%s can be read and written again", self._namespace, self._name)
        self._trouble = trouble
