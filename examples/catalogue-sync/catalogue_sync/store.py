"""Articles in and out of the database: once each, whoever else is importing. SQLite and PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from catalogue_sync.feed import Page
from catalogue_sync.tables import articles

_CONTENT = ("name", "price_minor", "currency")


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What a page meant for the shop."""

    added: int
    changed: int
    unchanged: int


def insert(connection: sa.Connection, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    """An INSERT with ON CONFLICT, which both databases have and SQLAlchemy's common one has not."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def put(connection: sa.Connection, feed: str, page: Page, number: int) -> Counts:
    """Put a page's articles in, each once, and say what was new."""
    rows = [{"feed": feed, "page": page.url, "seen_by": number, **article.model_dump()} for article in page.articles]
    before = _contents(connection, feed, [row["sku"] for row in rows])
    on_it = (articles.c.feed == feed, articles.c.page == page.url)
    connection.execute(articles.update().where(*on_it).values(page=None))
    if rows:
        connection.execute(_upsert(connection), rows)
    unreadable = [bad.sku for bad in page.bad if bad.sku is not None]
    # An article that cannot be read is there all the same: it stays as it was and has not vanished.
    _touch(connection, number, articles.c.feed == feed, articles.c.sku.in_(unreadable))
    same = sum(before.get(row["sku"]) == tuple(row[name] for name in _CONTENT) for row in rows)
    return Counts(added=len(rows) - len(before), changed=len(before) - same, unchanged=same)


def put_again(connection: sa.Connection, feed: str, url: str | None, number: int) -> Counts:
    """Note that the articles of an unmodified page are there; with the page, they may have been away."""
    on_it = (articles.c.feed == feed, articles.c.page == url)
    gone = (*on_it, articles.c.vanished_in.is_not(None))
    back = connection.execute(articles.update().where(*gone).values(vanished_in=None)).rowcount
    _touch(connection, number, *on_it)
    there = connection.execute(sa.select(sa.func.count()).select_from(articles).where(*on_it)).scalar_one()
    return Counts(added=back, changed=0, unchanged=there - back)


def mark_vanished(connection: sa.Connection, feed: str, number: int) -> int:
    """Mark the articles that neither this import nor a later one has seen; how many."""
    gone = (articles.c.feed == feed, articles.c.seen_by < number, articles.c.vanished_in.is_(None))
    return connection.execute(articles.update().where(*gone).values(vanished_in=number)).rowcount


def _upsert(connection: sa.Connection) -> sa.Insert:
    wanted = insert(connection, articles)
    new = wanted.excluded
    # An import that began later may have been here already: it stays the latest to have seen it.
    latest = sa.case((articles.c.seen_by > new.seen_by, articles.c.seen_by), else_=new.seen_by)
    changing = {name: new[name] for name in (*_CONTENT, "page")} | {"seen_by": latest, "vanished_in": None}
    return wanted.on_conflict_do_update(index_elements=["feed", "sku"], set_=changing)


def _touch(connection: sa.Connection, number: int, *which: sa.ColumnElement[bool]) -> None:
    connection.execute(articles.update().where(*which, articles.c.seen_by < number).values(seen_by=number))


def _contents(connection: sa.Connection, feed: str, skus: list[str]) -> dict[str, tuple[Any, ...]]:
    """What the shop has of these articles; those that had vanished are not among them."""
    query = sa.select(articles.c.sku, *(articles.c[name] for name in _CONTENT)).where(
        articles.c.feed == feed, articles.c.sku.in_(skus), articles.c.vanished_in.is_(None)
    )
    return {row[0]: tuple(row[1:]) for row in connection.execute(query)}
