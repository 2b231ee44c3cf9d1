"""What the example makes of a feed's answers, good and bad."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from catalogue_sync import feed
from catalogue_sync.jobs import CatalogueSync
from workerpool_worker.api import Answer, PermanentError, RateLimitedError, TransientError

pytestmark = pytest.mark.unit

URL = "https://supplier.example/articles?limit=2"
TEA = {"sku": "tea", "name": "Green tea", "price_minor": 499}


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[Answer]:
    given: list[Answer] = []
    monkeypatch.setattr(feed, "http_request", lambda *_, **__: given.pop(0))
    return given


def page_of(answers: list[Answer], *items: Any, **headers: str) -> feed.Page:
    answers.append(Answer(status=200, headers=headers, body={"articles": list(items)}))
    page = feed.fetch(URL, known_etag=None)
    assert isinstance(page, feed.Page)
    return page


def test_the_size_of_a_page_is_asked_for_beside_what_the_address_asks_for() -> None:
    assert feed.first_url("https://s.example/a?shop=1", 50) == "https://s.example/a?shop=1&limit=50"
    assert feed.first_url("https://s.example/a", 50) == "https://s.example/a?limit=50"


@pytest.mark.parametrize(
    ("link", "next_url"),
    [
        ("", None),
        ('<https://supplier.example/articles?p=1>; rel="prev"', None),
        ('</articles?limit=2&after=x>; rel="next"', "https://supplier.example/articles?limit=2&after=x"),
        ("<?after=x>; rel=next", "https://supplier.example/articles?after=x"),
        ('<?p=1>; rel="first", <?p=3>; title="more"; rel="next", <?p=9>; rel="last"', "?p=3"),
        ('<?p=1,2>; rel="next"', "?p=1,2"),
        ('<?p=1>; rel="nextish"', None),
    ],
)
def test_the_next_page_is_the_link_that_says_next(answers: list[Answer], link: str, next_url: str | None) -> None:
    page = page_of(answers, TEA, Link=link)
    wanted = next_url and (next_url if "://" in next_url else f"https://supplier.example/articles{next_url}")
    assert page.next_url == wanted


@pytest.mark.parametrize(
    ("headers", "links", "next_url"),
    [
        ({}, False, None),
        ({"Link": '<?p=1>; rel="first"'}, True, None),
        ({"Link": '<?p=3>; rel="next"'}, True, "https://supplier.example/articles?p=3"),
    ],
)
def test_an_unmodified_page_may_say_what_comes_next(
    answers: list[Answer], headers: dict[str, str], links: bool, next_url: str | None
) -> None:
    answers.append(Answer(status=304, headers=headers, body=None))
    assert feed.fetch(URL, known_etag='"1"') == feed.Unmodified(links=links, next_url=next_url)


@pytest.mark.parametrize("link", ["https://thief.example/articles", "http://supplier.example/articles", "//x.example/"])
def test_a_page_cannot_send_the_token_elsewhere(answers: list[Answer], link: str) -> None:
    with pytest.raises(PermanentError, match=r"only supplier\.example is asked"):
        page_of(answers, TEA, Link=f'<{link}>; rel="next"')


@pytest.mark.parametrize("tail", ["x" * 1_000, "é"])
def test_a_next_page_with_no_usable_address_is_refused(answers: list[Answer], tail: str) -> None:
    with pytest.raises(PermanentError, match="is no URL"):
        page_of(answers, TEA, Link=f'</articles?after={tail}>; rel="next"')


@pytest.mark.parametrize(
    ("status", "headers", "error", "retry_after_s"),
    [
        (429, {"Retry-After": "7"}, RateLimitedError, 7.0),
        (429, {"Retry-After": "0"}, RateLimitedError, 0.0),
        (429, {}, RateLimitedError, 30.0),
        (503, {"Retry-After": "9"}, TransientError, 9.0),
        (500, {}, TransientError, None),
        (408, {}, TransientError, None),
        (304, {}, PermanentError, None),
        (301, {}, PermanentError, None),
        (401, {}, PermanentError, None),
        (404, {}, PermanentError, None),
    ],
)
def test_each_status_is_an_error_of_its_class(
    answers: list[Answer], status: int, headers: dict[str, str], error: type[Exception], retry_after_s: float | None
) -> None:
    answers.append(Answer(status=status, headers=headers, body={"articles": []}))
    with pytest.raises(error, match=f"answered {status}") as raised:
        feed.fetch(URL, known_etag=None)
    assert type(raised.value) is error
    assert getattr(raised.value, "retry_after_s", None) == retry_after_s


@pytest.mark.parametrize("body", ["<html>", {"articles": {}}, {}, [TEA]])
def test_an_answer_that_is_no_page_may_pass(answers: list[Answer], body: Any) -> None:
    answers.append(Answer(status=200, headers={}, body=body))
    with pytest.raises(TransientError, match="no list of articles"):
        feed.fetch(URL, known_etag=None)


@pytest.mark.parametrize(
    ("item", "sku", "why"),
    [
        (TEA | {"price_minor": 4.99}, "tea", "tea: price_minor: "),
        (TEA | {"price_minor": -1}, "tea", "tea: price_minor: "),
        (TEA | {"name": "Tea\x00"}, "tea", "tea: name: "),
        (TEA | {"currency": "euro"}, "tea", "tea: currency: "),
        (TEA | {"sku": "a b"}, None, "article 1 of its page: sku: "),
        ({"name": "x"}, None, "article 1 of its page: sku: "),
        ("tea", None, "article 1 of its page: the article: "),
    ],
)
def test_a_bad_article_is_one_line_and_takes_its_pages_etag(
    answers: list[Answer], item: Any, sku: str | None, why: str
) -> None:
    page = page_of(answers, item, {**TEA, "sku": "mug"}, ETag='"1"')
    assert [article.sku for article in page.articles] == ["mug"]
    (bad,) = page.bad
    assert bad.sku == sku
    assert bad.why.startswith(why)
    assert len(bad.why) <= 200
    assert "\n" not in bad.why
    assert page.etag is None


def test_an_article_twice_on_a_page_is_one_and_two_that_differ_are_reported(answers: list[Answer]) -> None:
    page = page_of(answers, TEA, TEA, ETag='"1"')
    assert (len(page.articles), page.bad, page.etag) == (1, (), '"1"')
    page = page_of(answers, TEA, TEA | {"price_minor": 1})
    assert [article.price_minor for article in page.articles] == [499]
    assert [bad.sku for bad in page.bad] == ["tea"]


def test_what_the_feed_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, str]] = []

    def request(_method: str, _url: str, *, headers: dict[str, str], timeout_s: float) -> Answer:
        asked.append(headers)
        return Answer(status=304, headers={}, body=None)

    monkeypatch.setattr(feed, "http_request", request)
    monkeypatch.setenv("CATALOGUE_TOKEN", "of-a-test")
    assert feed.fetch(URL, known_etag='"1"') == feed.Unmodified(links=False, next_url=None)
    assert asked == [{"Accept": "application/json", "Authorization": "Bearer of-a-test", "If-None-Match": '"1"'}]


@pytest.mark.parametrize(
    "wrong",
    [
        {"feed_url": "https://user:pw@supplier.example/"},
        {"feed_url": "ftp://supplier.example/"},
        {"feed_url": "https://supplier.example/a b"},
        {"feed_url": "https://supplier.example/#x"},
        {"page_size": 0},
        {"page_size": 1_001},
        {"report_to": "nobody"},
        {"id": "x" * 101},
    ],
)
def test_a_message_that_is_no_import_is_refused(wrong: dict[str, Any]) -> None:
    good = {"id": "1", "feed_url": "https://supplier.example:8443/articles?shop=1"}
    assert CatalogueSync.model_validate(good).page_size == 100
    with pytest.raises(ValidationError):
        CatalogueSync.model_validate(good | wrong)
