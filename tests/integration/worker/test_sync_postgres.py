"""The example on PostgreSQL: kills, and two imports of one feed at the same time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from catalogue_sync.jobs import JOBS, CatalogueSync
from catalogue_sync.tables import articles, metadata
from tests.support.providers.catalogue import PATH, Catalogue
from tests.support.providers.fake_web import FakeWeb
from workerpool_worker.api import TransientError
from workerpool_worker.runtime.database import make_engine
from workerpool_worker.testing import JobTester, Killed

pytestmark = pytest.mark.integration

PAGES = 5


@pytest.fixture
def database(postgres: str) -> Iterator[str]:
    yield postgres
    engine = make_engine(postgres)
    metadata.drop_all(engine)
    engine.dispose()


@pytest.fixture
def catalogue() -> Catalogue:
    return Catalogue(10 * PAGES - 3)


@pytest.fixture
def web(catalogue: Catalogue) -> Iterator[FakeWeb]:
    with FakeWeb(catalogue.reply) as served:
        yield served


def job(web: FakeWeb, name: str = "monday") -> CatalogueSync:
    return CatalogueSync(id=name, feed_url=web.url + PATH, page_size=10, report_to="owner@shop.example")


def present(tester: JobTester) -> list[str]:
    query = sa.select(articles.c.sku).where(articles.c.vanished_in.is_(None)).order_by(articles.c.sku)
    with tester.engine.connect() as connection:
        return list(connection.execute(query).scalars())


@pytest.mark.parametrize("number", [2, 3, 5, PAGES + 2])
def test_killed_it_goes_on_behind_the_last_page_it_kept(
    catalogue: Catalogue, web: FakeWeb, database: str, number: int
) -> None:
    with JobTester(JOBS, database_url=database) as tester:
        with pytest.raises(Killed):
            tester.run(job(web), killed_at_commit=number)
        assert tester.run(job(web), redelivered=True)["added"] == 47
        assert present(tester) == sorted(catalogue.articles)
        assert sum(catalogue.asked.values()) <= PAGES + 1
        del catalogue.articles["a00047"]
        outcome = tester.run(job(web, "tuesday"))
        assert (outcome["unchanged"], outcome["vanished"]) == (46, 1)
        assert present(tester) == sorted(catalogue.articles)


@pytest.mark.parametrize("names", [("one", "other"), ("same", "same")])
def test_imports_at_the_same_time_double_nothing(
    catalogue: Catalogue, web: FakeWeb, database: str, names: tuple[str, str]
) -> None:
    ended: list[Any] = []

    def run(name: str) -> None:
        with JobTester(JOBS, database_url=database) as tester:
            try:
                ended.append(tester.run(job(web, name))["outcome"])
            except TransientError as error:
                ended.append(str(error))

    catalogue.slow_s = 0.01
    threads = [threading.Thread(target=run, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert "synced" in ended
    assert set(ended) <= {"synced", "another try is at import same"}
    with JobTester(JOBS, database_url=database) as tester:
        for name in names:
            tester.run(job(web, name), redelivered=True)
        assert present(tester) == sorted(catalogue.articles)
        assert {mail.job_id for mail in tester.published} == {f"email-catalogue-sync-{name}" for name in names}
