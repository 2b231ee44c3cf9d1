"""The example's import, whatever ends its tries: every article once, one report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from catalogue_sync import feed, runs
from catalogue_sync.jobs import JOBS, CatalogueSync
from catalogue_sync.tables import articles
from tests.support.providers.catalogue import FEED, Catalogue, some_articles
from tests.support.providers.fake_web import Reply
from workerpool_worker.api import Email, HandOverError, PermanentError, RateLimitedError, TransientError
from workerpool_worker.testing import JobTester, Killed

pytestmark = pytest.mark.unit

PAGES = 5


@pytest.fixture
def catalogue(monkeypatch: pytest.MonkeyPatch) -> Catalogue:
    made = Catalogue(10 * PAGES - 3)
    monkeypatch.setattr(feed, "http_request", made.request)
    return made


@pytest.fixture
def tester() -> Iterator[JobTester]:
    with JobTester(JOBS) as made:
        yield made


def job(name: str = "monday", **more: Any) -> CatalogueSync:
    return CatalogueSync.model_validate(
        {"id": name, "feed_url": FEED, "page_size": 10, "report_to": "owner@shop.example"} | more
    )


def in_the_shop(tester: JobTester) -> dict[str, tuple[str, int]]:
    query = sa.select(articles).where(articles.c.vanished_in.is_(None))
    with tester.engine.connect() as connection:
        return {row.sku: (row.name, row.price_minor) for row in connection.execute(query)}


def in_the_feed(catalogue: Catalogue) -> dict[str, tuple[str, int]]:
    return {sku: (article["name"], article["price_minor"]) for sku, article in catalogue.articles.items()}


def counts(outcome: dict[str, Any]) -> dict[str, int]:
    return {name: count for name, count in outcome.items() if isinstance(count, int) and count and name != "pages"}


def test_a_first_import_brings_everything_and_doing_it_again_changes_nothing(
    catalogue: Catalogue, tester: JobTester
) -> None:
    outcome = tester.check_once(job())
    assert outcome == {
        "outcome": "synced", "pages": PAGES, "added": 47, "changed": 0, "unchanged": 0, "vanished": 0, "bad": 0
    }  # fmt: skip
    assert in_the_shop(tester) == in_the_feed(catalogue)
    assert set(catalogue.asked.values()) == {1}
    mail = tester.published[0]
    assert isinstance(mail, Email)
    assert (mail.to, mail.job_id) == ("owner@shop.example", "email-catalogue-sync-monday")
    assert mail.subject == "Catalogue import monday: 47 new, 0 changed, 0 vanished"
    first_percent, first_message = tester.progress[0]
    assert (round(first_percent, 2), first_message) == (21.28, "1 pages, 10 articles")
    assert tester.progress[-1] == (100.0, "5 pages, 47 articles")
    assert [percent for percent, _ in tester.progress] == sorted(percent for percent, _ in tester.progress)


def test_without_an_address_nothing_is_reported_and_without_a_total_progress_is_unknown(
    catalogue: Catalogue, tester: JobTester
) -> None:
    catalogue.tells_total = False
    tester.run(job(report_to=None))
    assert tester.published == []
    assert {percent for percent, _ in tester.progress} == {0.0, 100.0}


def test_a_total_that_is_said_once_is_kept(catalogue: Catalogue, tester: JobTester) -> None:
    with pytest.raises(Killed):
        tester.run(job(), killed_at_commit=4)
    catalogue.tells_total = False
    tester.run(job(), redelivered=True)
    assert [round(percent) for percent, _ in tester.progress] == [21, 43, 64, 85, 100]


# A first try commits its tables, its beginning, and each page.
@pytest.mark.parametrize("number", range(1, PAGES + 3))
def test_killed_anywhere_it_goes_on_behind_the_last_page_it_kept(
    catalogue: Catalogue, tester: JobTester, number: int
) -> None:
    with pytest.raises(Killed):
        tester.run(job(), killed_at_commit=number)
    kept = len(tester.progress)
    assert tester.published == []
    outcome = tester.run(job(), redelivered=True)
    assert counts(outcome) == {"added": 47}
    assert in_the_shop(tester) == in_the_feed(catalogue)
    # The page that was at hand is read again; those that were kept are not.
    assert max(catalogue.asked.values()) <= 2
    assert sum(catalogue.asked.values()) <= PAGES + 1
    assert len(tester.progress) == PAGES
    assert kept < PAGES
    assert len(tester.published) == 1


def test_later_imports_read_what_has_changed_only(catalogue: Catalogue, tester: JobTester) -> None:
    tester.run(job())
    assert counts(tester.run(job("tuesday"))) == {"unchanged": 47}
    # The last page is always read: more may have come behind it.
    assert sum(catalogue.unmodified.values()) == PAGES - 1
    catalogue.articles["a00013"]["price_minor"] = 7
    assert counts(tester.run(job("wednesday"))) == {"changed": 1, "unchanged": 46}
    assert sum(catalogue.full.values()) == PAGES + 1 + 2
    assert in_the_shop(tester) == in_the_feed(catalogue)


def test_articles_vanish_and_come_back(catalogue: Catalogue, tester: JobTester) -> None:
    tester.run(job())
    gone = catalogue.articles.pop("a00047")
    assert counts(tester.run(job("tuesday"))) == {"unchanged": 46, "vanished": 1}
    assert in_the_shop(tester) == in_the_feed(catalogue)
    assert counts(tester.run(job("wednesday"))) == {"unchanged": 46}
    assert in_the_shop(tester) == in_the_feed(catalogue)
    catalogue.articles["a00047"] = gone
    assert counts(tester.run(job("thursday"))) == {"added": 1, "unchanged": 46}
    assert in_the_shop(tester) == in_the_feed(catalogue)


@pytest.mark.parametrize("tells_links", [False, True])
def test_a_page_vanishes_and_comes_back_and_others_come_behind_the_last(
    catalogue: Catalogue, tester: JobTester, tells_links: bool
) -> None:
    catalogue.tells_links_again = tells_links
    tester.run(job())
    gone = {sku: catalogue.articles.pop(sku) for sku in sorted(catalogue.articles) if sku > "a00030"}
    outcome = tester.run(job("tuesday"))
    assert counts(outcome) == {"unchanged": 30, "vanished": 17}
    # Without links the page behind the third, now empty, is asked for once more.
    assert outcome["pages"] == (3 if tells_links else 4)
    assert in_the_shop(tester) == in_the_feed(catalogue)
    catalogue.articles |= gone
    assert counts(tester.run(job("wednesday"))) == {"added": 17, "unchanged": 30}
    assert in_the_shop(tester) == in_the_feed(catalogue)
    catalogue.articles |= some_articles(80)
    assert counts(tester.run(job("thursday"))) == {"added": 33, "unchanged": 47}
    assert in_the_shop(tester) == in_the_feed(catalogue)


def test_an_article_gone_in_an_import_that_never_ended_vanishes_in_the_next(
    catalogue: Catalogue, tester: JobTester
) -> None:
    tester.run(job())
    del catalogue.articles["a00005"]
    catalogue.articles["a00010x"] = catalogue.articles["a00011"] | {
        "sku": "a00010x"
    }  # the other pages stay as they are
    with pytest.raises(Killed):
        tester.run(job("tuesday"), killed_at_commit=4)
    assert counts(tester.run(job("wednesday")))["vanished"] == 1
    assert in_the_shop(tester) == in_the_feed(catalogue)


def test_bad_articles_are_counted_listed_up_to_a_bound_and_keep_their_old_self(
    catalogue: Catalogue, tester: JobTester
) -> None:
    tester.run(job())
    before = in_the_shop(tester)
    for number in range(1, 31):
        catalogue.articles[f"a{number:05}"]["price_minor"] = -1
    outcome = tester.run(job("tuesday"))
    assert counts(outcome) == {"unchanged": 17, "bad": 30}
    assert in_the_shop(tester) == before
    text = getattr(tester.published[-1], "text", "")
    assert "(the first 20 of 30)" in text
    assert text.count("price_minor") == 20


@pytest.mark.parametrize("what", ["nameless", "empty"])
def test_a_feed_that_does_not_say_what_it_has_makes_nothing_vanish(
    catalogue: Catalogue, tester: JobTester, what: str
) -> None:
    tester.run(job())
    before = in_the_shop(tester)
    if what == "nameless":
        del catalogue.articles["a00047"]
        catalogue.extra["a00040"] = [{"name": "no sku"}]
    else:
        catalogue.articles.clear()
    outcome = tester.run(job("tuesday"))
    assert outcome["vanished"] == 0
    assert in_the_shop(tester) == before
    assert "marked as vanished" in getattr(tester.published[-1], "text", "")


def test_a_feed_that_asks_for_patience_gets_it(catalogue: Catalogue, tester: JobTester) -> None:
    catalogue.replies = [Reply(status=429, headers={"Retry-After": "7"})]
    with pytest.raises(RateLimitedError) as raised:
        tester.run(job())
    assert raised.value.retry_after_s == 7
    assert counts(tester.run(job())) == {"added": 47}


def test_time_runs_out_after_a_page_and_not_in_one(catalogue: Catalogue) -> None:
    with JobTester(JOBS, environ={"WORKERPOOL_SOFT_TIME_LIMIT_SECONDS": "0.000001"}) as tester:
        for number in range(1, PAGES):
            with pytest.raises(HandOverError, match=f"{number} pages are in"):
                tester.run(job())
        assert counts(tester.run(job())) == {"added": 47}
        assert set(catalogue.asked.values()) == {1}
        assert len(tester.published) == 1


def test_a_try_that_was_taken_for_dead_gives_way(catalogue: Catalogue, tester: JobTester) -> None:
    runs_keep = runs.keep
    with pytest.raises(Killed):
        tester.run(job(), killed_at_commit=3)
    stale = runs.begin(tester.engine, job())
    tester.run(job(), redelivered=True)
    page = feed.fetch(str(stale.cursor), known_etag=None)
    with pytest.raises(TransientError, match="another try is at import monday") as raised:
        runs_keep(tester.engine, stale, page)
    assert raised.value.retry_after_s
    assert in_the_shop(tester) == in_the_feed(catalogue)


def test_an_older_import_that_ends_later_takes_nothing_from_a_newer_one(
    catalogue: Catalogue, tester: JobTester
) -> None:
    with pytest.raises(Killed):
        tester.run(job("old"), killed_at_commit=5)
    catalogue.articles["a00001x"] = catalogue.articles["a00001"] | {"sku": "a00001x"}  # where "old" has been
    tester.run(job("new"))
    assert counts(tester.run(job("old"), redelivered=True)).get("vanished") is None
    assert in_the_shop(tester) == in_the_feed(catalogue)


def test_an_older_import_leaves_a_newer_one_the_latest_to_have_seen_an_article(
    catalogue: Catalogue, tester: JobTester
) -> None:
    with pytest.raises(Killed):
        tester.run(job("old"), killed_at_commit=3)
    with pytest.raises(Killed):
        tester.run(job("new"), killed_at_commit=5)
    catalogue.articles["a00001"]["price_minor"] = 7  # so that "old" reads the page that "new" is beyond
    tester.run(job("old"), redelivered=True)
    assert counts(tester.run(job("new"), redelivered=True)).get("vanished") is None
    assert in_the_shop(tester) == in_the_feed(catalogue)


def test_an_import_that_is_done_says_so(catalogue: Catalogue, tester: JobTester) -> None:
    assert "repeated" not in tester.run(job())
    assert tester.run(job())["repeated"] is True


def test_one_id_is_one_feed(catalogue: Catalogue, tester: JobTester) -> None:
    tester.run(job())
    with pytest.raises(PermanentError, match="give this one an id of its own"):
        tester.run(job(feed_url=f"{FEED}?shop=2"))


@pytest.mark.parametrize("status", [200, 304])
def test_a_feed_that_goes_round_in_circles_ends(catalogue: Catalogue, tester: JobTester, status: int) -> None:
    tester.run(job())
    link = {"Link": f'<{FEED}?limit=10>; rel="next"'}
    catalogue.replies = [Reply(status=status, body={"articles": []}, headers=link)]
    with pytest.raises(PermanentError, match="round in circles: page 1 links back"):
        tester.run(job("tuesday"))
