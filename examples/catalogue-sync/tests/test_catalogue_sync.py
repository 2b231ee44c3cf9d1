"""How one tests a job of one's own: no Redis, no feed, a database in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from catalogue_sync import feed
from catalogue_sync.jobs import JOBS, CatalogueSync
from catalogue_sync.tables import articles
from workerpool_worker.api import Answer
from workerpool_worker.testing import JobTester, Killed

JOB = CatalogueSync(id="monday", feed_url="https://supplier.example/articles", report_to="owner@shop.example")
PAGES = {
    "https://supplier.example/articles?limit=100": (["tea", "mug"], '</articles?after=mug>; rel="next"'),
    "https://supplier.example/articles?after=mug": (["pot"], ""),
}


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The feed of two pages, and what it was asked for."""
    urls: list[str] = []

    def answer(_method: str, url: str, **_: Any) -> Answer:
        urls.append(url)
        skus, link = PAGES[url]
        items = [{"sku": sku, "name": sku.title(), "price_minor": 499} for sku in skus]
        return Answer(status=200, headers={"Link": link}, body={"total": 3, "articles": items})

    monkeypatch.setattr(feed, "http_request", answer)
    return urls


@pytest.fixture
def tester() -> Iterator[JobTester]:
    with JobTester(JOBS) as made:
        yield made


def skus(tester: JobTester) -> list[str]:
    with tester.engine.connect() as connection:
        return list(connection.execute(sa.select(articles.c.sku).order_by(articles.c.sku)).scalars())


def test_every_article_comes_once_however_often_the_job_is_delivered(tester: JobTester) -> None:
    outcome = tester.check_once(JOB)
    assert (outcome["added"], outcome["pages"]) == (3, 2)
    assert skus(tester) == ["mug", "pot", "tea"]
    assert tester.progress[-1] == (100, "2 pages, 3 articles")
    assert tester.published[0].job_id == "email-catalogue-sync-monday"


def test_killed_at_the_second_page_it_goes_on_there(tester: JobTester, asked: list[str]) -> None:
    with pytest.raises(Killed):
        # The commits of a first try: its tables, its beginning, then one a page.
        tester.run(JOB, killed_at_commit=4)
    assert skus(tester) == ["mug", "tea"]
    tester.run(JOB, redelivered=True)
    assert skus(tester) == ["mug", "pot", "tea"]
    first, second = PAGES
    assert asked == [first, second, second]
