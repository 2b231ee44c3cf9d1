"""The last decision of every pool, kept in memory, and served over HTTP as an explanation of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from aiohttp import web

from workerpool_operator.ports import CycleRecord, Notice, PoolKey
from workerpool_operator.report.explain import SCHEMA_VERSION, Json, explanation

PATH = "/explain"


class LastDecisions:
    """A sink that keeps the last record of each pool, and the last that asked for another size.

    Two references a pool; nothing is made of them until somebody asks.
    """

    def __init__(self) -> None:
        self._records: dict[PoolKey, CycleRecord] = {}
        self.changes: dict[PoolKey, CycleRecord] = {}
        """The last cycle of each pool that asked for another size than it had."""

    @property
    def records(self) -> Mapping[PoolKey, CycleRecord]:
        """The pools that were decided, each with its last cycle."""
        return self._records

    def record(self, record: CycleRecord) -> None:
        """Keep it in place of the one before."""
        self._records[record.key] = record
        if record.decision.target != record.decision.current:
            self.changes[record.key] = record

    def notice(self, notice: Notice) -> None:
        """Nothing: a decision is a cycle's."""

    def forget(self, key: PoolKey) -> None:
        """Drop a pool that is no more."""
        self._records.pop(key, None)
        self.changes.pop(key, None)

    def forget_all(self) -> None:
        """Drop every pool: another process decides from now on."""
        self._records.clear()
        self.changes.clear()


class ExplainPages:
    """``/explain``: which pools were decided; ``/explain/<namespace>/<name>``: the last decision of one of them.

    A process that does not lead answers 503 and says who does. An error is a JSON object with ``error`` too.
    """

    def __init__(
        self,
        decisions: LastDecisions,
        *,
        decided_by: str = "",
        rest_s: float = 0.0,
        leads: Callable[[], bool] = lambda: True,
        leader: Callable[[], str] = lambda: "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Nothing is served yet.

        Args:
            decisions: What to tell of.
            decided_by: What this process is called.
            rest_s: How often a pool at zero with nothing to do is decided, 0 where that is at every poll.
            leads: Whether this process decides at present.
            leader: Who does, as far as is known; "" when nobody does.
            clock: Unix seconds.
        """
        self._decisions, self._decided_by, self._rest_s = decisions, decided_by, rest_s
        self._leads, self._leader, self._clock = leads, leader, clock

    def add_to(self, app: web.Application) -> None:
        """Serve them there."""
        app.router.add_get(PATH, self._list)
        app.router.add_get(PATH + "/{namespace}/{name}", self._one)

    async def _list(self, _request: web.Request) -> web.Response:
        if not self._leads():
            return self._standby()
        return _answer({"pools": [_named(key) for key in sorted(self._decisions.records)]})

    async def _one(self, request: web.Request) -> web.Response:
        if not self._leads():
            return self._standby()
        key = PoolKey(namespace=request.match_info["namespace"], name=request.match_info["name"])
        record = self._decisions.records.get(key)
        if record is None:
            known = [_named(other) for other in sorted(self._decisions.records) if other.namespace == key.namespace]
            return _answer({"error": f"no decision about {key} is known", "pools": known}, status=404)
        told = explanation(
            record,
            now_s=self._clock(),
            rest_s=self._rest_s,
            decided_by=self._decided_by,
            change=self._decisions.changes.get(key),
        )
        return _answer(told)

    def _standby(self) -> web.Response:
        leader = self._leader()
        who = f"{leader} leads" if leader else "nobody leads"
        return _answer({"error": f"this process does not lead; {who}", "leader": leader or None}, status=503)


def _named(key: PoolKey) -> Json:
    return {"namespace": key.namespace, "name": key.name}


def _answer(body: Json, *, status: int = 200) -> web.Response:
    return web.json_response(
        {"schemaVersion": SCHEMA_VERSION, **body}, status=status, headers={"Cache-Control": "no-store"}
    )
