"""Effects that happen once, however often their job is delivered.

An effect has a key made of a business id. Two ways to have it happen once:

- `once_in_transaction`: the effect is SQL. It and the mark "done" commit together; there is no window at all.
- `effect`: the effect is outside (a mail, a charge). First the key is claimed and committed, then the effect
  happens, then "done" commits. If the process dies between the effect and that commit, the next try does it
  again. So the window is one commit long, and the outside gets a deterministic key of its own to drop the
  double: the provider's idempotency key, the mail's Message-ID.

A claim has an owner, a lease and a token. A claim whose attempt died is taken over when its lease is past, or sooner
by the same job redelivered. Taking over raises the token, and only the holder of the current token may commit.

Redelivered does not prove that the earlier attempt is dead: a worker that got no processor for some seconds looks just
like one that is gone, and its job is restored while it still runs. Where the outside drops a double by itself that is
harmless. Where it does not (a mail), the redelivered try leaves a young claim alone for `takeover_after_s`.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from workerpool_worker.runtime.database import insert_once, metadata
from workerpool_worker.runtime.errors import EffectBusyError, EffectMismatchError

effects = sa.Table(
    "effects",
    metadata,
    sa.Column("key", sa.String(300), primary_key=True),
    sa.Column("params_hash", sa.String(64), nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("owner", sa.String(300), nullable=False),
    sa.Column("token", sa.Integer, nullable=False),
    sa.Column("lease_until", sa.Float, nullable=False),
    sa.Column("result", sa.Text),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("done_at", sa.Float),
)

Result = dict[str, Any]

ASK_AGAIN_S = 15.0
"""A claim may run for minutes, but most attempts are over in a second: who waits for one looks again this often."""

_COMMIT_AGAIN_S = 10.0
_COMMIT_EVERY_S = 0.2

LEFT_ALONE_S = 30.0
"""How long an effect that somebody began is left to them, although their worker seems to be gone, where the outside
drops no double: mails, text messages, some refunds. They take milliseconds; a worker on a node without a processor to
spare takes seconds."""


@dataclass(kw_only=True)
class Effect:
    """A claimed effect: `result` is set when it has already happened; otherwise do it, then call `done`."""

    key: str
    token: int
    result: Result | None
    _engine: sa.Engine = field(repr=False)

    @property
    def already_done(self) -> bool:
        """Whether the effect happened in an earlier delivery."""
        return self.result is not None

    def done(self, result: Result, also: Callable[[sa.Connection], None] | None = None) -> Result:
        """Commit that it happened, together with what `also` writes.

        A database that refuses for a moment is asked again for ten seconds: it has happened, and whoever does not
        know would do it again.

        Raises:
            EffectBusyError: another attempt has taken the effect over; its answer is the one that counts.
        """
        give_up_at = time.monotonic() + _COMMIT_AGAIN_S
        while True:
            try:
                self._commit(result, also)
            except exc.OperationalError:
                if time.monotonic() >= give_up_at:
                    raise
                time.sleep(_COMMIT_EVERY_S)
            else:
                self.result = result
                return result

    def _commit(self, result: Result, also: Callable[[sa.Connection], None] | None) -> None:
        with self._engine.begin() as connection:
            # A commit whose answer got lost has been made: then nothing is left to be finished, and nobody took over.
            if not _finish(connection, self.key, self.token, result):
                if self._is_done(connection, result):
                    return
                raise EffectBusyError(f"{self.key}: taken over by another attempt")
            if also is not None:
                also(connection)

    def _is_done(self, connection: sa.Connection, result: Result) -> bool:
        row = _read(connection, self.key)
        return bool(row.state == "done" and row.token == self.token and json.loads(row.result) == result)


@contextmanager
def effect(
    engine: sa.Engine,
    key: str,
    params: object,
    *,
    owner: str,
    redelivered: bool,
    lease_s: float,
    takeover_after_s: float = 0.0,
) -> Iterator[Effect]:
    """Claim an effect outside the database. An exception from the block gives the claim back at once.

    Args:
        engine: Where claims are kept.
        key: Names the effect, with its business id.
        params: What was asked for; the same key must always come with the same.
        owner: The job's id.
        redelivered: Whether an earlier try of this very job was cut off, as far as anybody can tell.
        lease_s: After which anyone may take the claim over: as long as a job can live at all.
        takeover_after_s: After which the same job, redelivered, may.

    Raises:
        EffectBusyError: another attempt is at it.
        EffectMismatchError: the key was used with other parameters.
    """
    row = _row(key, hash_of(params), owner, time.time(), lease_s=lease_s)
    claimed = _claim(engine, row, wait_s=takeover_after_s if redelivered else lease_s, lease_s=lease_s)
    try:
        yield claimed
    except Exception:
        if not claimed.already_done:
            _release(engine, claimed)
        raise


def once_in_transaction(
    engine: sa.Engine, key: str, params: object, work: Callable[[sa.Connection], Result], *, owner: str
) -> tuple[Result, bool]:
    """Do `work` and mark it done in one transaction; (result, whether this call did it).

    Raises:
        EffectMismatchError: the key was used with other parameters.
    """
    now = time.time()
    with engine.begin() as connection:
        if not insert_once(connection, effects, _row(key, hash_of(params), owner, now, lease_s=0.0), on="key"):
            row = _read(connection, key)
            _check_params(row, key, hash_of(params))
            return json.loads(row.result), False
        result = work(connection)
        _finish(connection, key, 1, result)
        return result, True


def hash_of(params: object) -> str:
    """A hash of JSON-able parameters that does not depend on the order of keys."""
    text = json.dumps(params, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _claim(engine: sa.Engine, wanted: dict[str, Any], *, wait_s: float, lease_s: float) -> Effect:
    """Claim with the row `wanted`. A claim of the same job counts for `wait_s`, another's for its whole lease."""
    key, now = wanted["key"], wanted["created_at"]
    with engine.begin() as connection:
        if insert_once(connection, effects, wanted, on="key"):
            return Effect(key=key, token=1, result=None, _engine=engine)
        row = _read(connection, key)
        _check_params(row, key, wanted["params_hash"])
        if row.state == "done":
            return Effect(key=key, token=row.token, result=json.loads(row.result), _engine=engine)
        claimed_at = row.lease_until - lease_s
        free_at = min(row.lease_until, claimed_at + wait_s) if row.owner == wanted["owner"] else row.lease_until
        if free_at > now:
            raise EffectBusyError(f"{key}: another attempt is at it", retry_after_s=min(free_at - now, ASK_AGAIN_S))
        connection.execute(
            effects.update()
            .where(effects.c.key == key)
            .values(owner=wanted["owner"], token=row.token + 1, lease_until=wanted["lease_until"])
        )
        return Effect(key=key, token=row.token + 1, result=None, _engine=engine)


def _row(key: str, params_hash: str, owner: str, now: float, *, lease_s: float) -> dict[str, Any]:
    row: dict[str, Any] = {"key": key, "params_hash": params_hash, "state": "claimed", "owner": owner, "token": 1}
    return row | {"lease_until": now + lease_s, "created_at": now}


def _read(connection: sa.Connection, key: str) -> Any:
    # FOR UPDATE on PostgreSQL; SQLite has the whole database locked already.
    return connection.execute(sa.select(effects).where(effects.c.key == key).with_for_update()).one()


def _check_params(row: Any, key: str, params_hash: str) -> None:
    if row.params_hash != params_hash:
        raise EffectMismatchError(f"{key}: already used with other parameters; use a new id for a different request")


def _finish(connection: sa.Connection, key: str, token: int, result: Result) -> bool:
    done = connection.execute(
        effects.update()
        .where(effects.c.key == key, effects.c.token == token, effects.c.state == "claimed")
        .values(state="done", result=json.dumps(result), done_at=time.time())
    )
    return done.rowcount == 1


def _release(engine: sa.Engine, claimed: Effect) -> None:
    with engine.begin() as connection:
        connection.execute(
            effects.update()
            .where(effects.c.key == claimed.key, effects.c.token == claimed.token, effects.c.state == "claimed")
            .values(lease_until=0.0)
        )
