"""How far an import is. Each page goes in together with the cursor behind it, in one transaction."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Self

import sqlalchemy as sa

from catalogue_sync import store
from catalogue_sync.feed import Page, Unmodified, first_url
from catalogue_sync.jobs import CatalogueSync
from catalogue_sync.tables import pages, runs
from workerpool_worker.api import PermanentError, TransientError

_MOST_COMPLAINTS = 20
_LOST_RACE_RETRY_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Run:
    """An import as the database has it. `cursor` is the page that comes next, None when all are in."""

    number: int
    id: str
    feed: str
    cursor: str | None
    pages: int
    total: int | None
    added: int
    changed: int
    unchanged: int
    vanished: int
    bad: int
    nameless: int
    complaints: str

    @classmethod
    def of(cls, row: sa.Row[Any]) -> Self:
        """From its row."""
        return cls(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it

    @property
    def seen(self) -> int:
        """Articles so far, the bad ones too."""
        return self.added + self.changed + self.unchanged + self.bad

    @property
    def percent(self) -> float:
        """How far it is; below 100 until all is in, 0 where the feed does not say how much there is."""
        if self.cursor is None:
            return 100.0
        return min(100.0 * self.seen / self.total, 99.0) if self.total else 0.0


def begin(engine: sa.Engine, job: CatalogueSync) -> Run:
    """The job's import: a new one, or the one that an earlier try began.

    Raises:
        PermanentError: the id was used for another feed.
    """
    with engine.begin() as connection:
        start = {"id": job.id, "feed": job.feed_url, "cursor": first_url(job.feed_url, job.page_size)}
        connection.execute(store.insert(connection, runs).values(start).on_conflict_do_nothing(index_elements=["id"]))
        run = _locked(connection, job.id)
    if run.feed != job.feed_url:
        raise PermanentError(f"import {job.id} was of another feed; give this one an id of its own")
    return run


def known_etag(engine: sa.Engine, run: Run) -> str | None:
    """The ETag that the next page had when it was last read; none for a last page: there may be more behind it now.

    Raises:
        PermanentError: this import has read that page already.
    """
    with engine.connect() as connection:
        row = connection.execute(sa.select(pages).where(pages.c.feed == run.feed, pages.c.url == run.cursor)).first()
    if row is not None and row.read_by == run.number:
        raise PermanentError(f"the feed goes round in circles: page {run.pages} links back to {run.cursor}")
    return None if row is None or row.next_url is None else row.etag


def keep(engine: sa.Engine, before: Run, page: Page | Unmodified) -> Run:
    """Put a page in and move on; the import after it.

    Raises:
        TransientError: another try of this job has moved on from the same page.
    """
    with engine.begin() as connection:
        run = _locked(connection, before.id)
        if run.pages != before.pages:
            # A worker that was taken for dead is not. Its pages are as good as ours; one of us is enough.
            raise TransientError(f"another try is at import {run.id}", retry_after_s=_LOST_RACE_RETRY_S)
        values = _read(connection, run, page) if isinstance(page, Page) else _unmodified(connection, run, page)
        values["pages"] = run.pages + 1
        if values["cursor"] is None:
            values["vanished"] = _vanished(connection, run, values)
        connection.execute(runs.update().where(runs.c.number == run.number).values(values))
        return _locked(connection, run.id)


def _locked(connection: sa.Connection, id_: str) -> Run:
    # FOR UPDATE on PostgreSQL; in SQLite the transaction has the whole database locked already.
    return Run.of(connection.execute(sa.select(runs).where(runs.c.id == id_).with_for_update()).one())


def _unmodified(connection: sa.Connection, run: Run, page: Unmodified) -> dict[str, Any]:
    at = (pages.c.feed == run.feed, pages.c.url == run.cursor)
    known = {"next_url": page.next_url} if page.links else {}
    connection.execute(pages.update().where(*at).values(read_by=run.number, **known))
    following = connection.execute(sa.select(pages.c.next_url).where(*at)).scalar_one()
    counts = store.put_again(connection, run.feed, run.cursor, run.number)
    return {"cursor": following, "added": run.added + counts.added, "unchanged": run.unchanged + counts.unchanged}


def _read(connection: sa.Connection, run: Run, page: Page) -> dict[str, Any]:
    counts = store.put(connection, run.feed, page, run.number)
    known = store.insert(connection, pages).values(
        feed=run.feed, url=page.url, etag=page.etag, next_url=page.next_url, read_by=run.number
    )
    changing = {name: known.excluded[name] for name in ("etag", "next_url", "read_by")}
    connection.execute(known.on_conflict_do_update(index_elements=["feed", "url"], set_=changing))
    complaints = [*json.loads(run.complaints), *(bad.why for bad in page.bad)][:_MOST_COMPLAINTS]
    return {
        "cursor": page.next_url,
        "total": run.total if page.total is None else page.total,
        "added": run.added + counts.added,
        "changed": run.changed + counts.changed,
        "unchanged": run.unchanged + counts.unchanged,
        "bad": run.bad + len(page.bad),
        "nameless": run.nameless + sum(bad.sku is None for bad in page.bad),
        "complaints": json.dumps(complaints),
    }


def _vanished(connection: sa.Connection, run: Run, values: dict[str, Any]) -> int:
    """Mark what the feed has no more. A feed that is empty, or whose articles have no name, says nothing of that."""
    after = Run(**(vars(run) | values))
    if after.nameless or not after.seen:
        return 0
    return store.mark_vanished(connection, run.feed, run.number)
