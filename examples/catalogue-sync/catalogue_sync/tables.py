"""The example's own tables: the articles, what is known of the feed's pages, and how far each import is."""

from __future__ import annotations

import sqlalchemy as sa

# Of its own: these tables are no business of the bundled jobs, and are made by the job itself.
metadata = sa.MetaData()

articles = sa.Table(
    "catalogue_articles",
    metadata,
    sa.Column("feed", sa.String(500), primary_key=True),
    sa.Column("sku", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(500), nullable=False),
    sa.Column("price_minor", sa.BigInteger, nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    # The page it was last seen on; none once that page was read without it.
    sa.Column("page", sa.String(1_000)),
    # The latest import that saw it. Numbers and not times: the clocks of two machines differ.
    sa.Column("seen_by", sa.Integer, nullable=False),
    # The import that found it gone.
    sa.Column("vanished_in", sa.Integer),
    sa.Index("catalogue_articles_page", "feed", "page"),
)

pages = sa.Table(
    "catalogue_pages",
    metadata,
    sa.Column("feed", sa.String(500), primary_key=True),
    sa.Column("url", sa.String(1_000), primary_key=True),
    sa.Column("etag", sa.String(200)),
    sa.Column("next_url", sa.String(1_000)),
    sa.Column("read_by", sa.Integer, nullable=False),
)

runs = sa.Table(
    "catalogue_runs",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.String(100), nullable=False, unique=True),
    sa.Column("feed", sa.String(500), nullable=False),
    # The page that comes next; none once all are in.
    sa.Column("cursor", sa.String(1_000)),
    sa.Column("pages", sa.Integer, nullable=False, default=0),
    sa.Column("total", sa.Integer),
    sa.Column("added", sa.Integer, nullable=False, default=0),
    sa.Column("changed", sa.Integer, nullable=False, default=0),
    sa.Column("unchanged", sa.Integer, nullable=False, default=0),
    sa.Column("vanished", sa.Integer, nullable=False, default=0),
    sa.Column("bad", sa.Integer, nullable=False, default=0),
    # Bad articles that do not even say which they are.
    sa.Column("nameless", sa.Integer, nullable=False, default=0),
    # The first of the bad articles, a line each, as JSON.
    sa.Column("complaints", sa.Text, nullable=False, default="[]"),
)
