"""The feed: one page a request, in the way most APIs page.

    GET {feed}?limit=100             Authorization: Bearer ...   If-None-Match: "..."
    200  ETag: "..."                 Link: <...>; rel="next"
    {"total": 5000, "articles": [{"sku": "tea", "name": "Green tea", "price_minor": 499, "currency": "EUR"}, ...]}

304 says that the page is as it was, 429 when to ask again. The last page links to no next one.
An ETag may be of the articles alone: what comes after a page can change while the page does not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from workerpool_worker.api import Answer, PermanentError, RateLimitedError, TransientError, http_request

_TIMEOUT_S = 30.0
_UNSAID_RETRY_AFTER_S = 30.0
_LONGEST_LINK = 1_000
_NEXT = re.compile(r'<([^>]*)>\s*;[^,]*\brel="?next"?(?=[\s;,]|$)')
_NOT_MODIFIED, _TIMEOUT, _TOO_MANY = 304, 408, 429


class Article(BaseModel):
    """An article as the feed has it; further fields are left alone."""

    model_config = ConfigDict(frozen=True)

    sku: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    name: Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f]+$")]
    price_minor: Annotated[int, Field(strict=True, ge=0, le=10**12)]
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = "EUR"


@dataclass(frozen=True, kw_only=True)
class Bad:
    """An article that cannot be taken. Without a readable `sku` nobody knows which one it was."""

    sku: str | None
    why: str


@dataclass(frozen=True, kw_only=True)
class Page:
    """One page. `etag` is None where the page must be read again next time; `total` where the feed says none."""

    url: str
    articles: tuple[Article, ...]
    bad: tuple[Bad, ...]
    total: int | None
    etag: str | None
    next_url: str | None


@dataclass(frozen=True, kw_only=True)
class Unmodified:
    """The page is as it was. `links`: whether the answer says what comes next; then `next_url` counts, None too."""

    links: bool
    next_url: str | None


def first_url(feed_url: str, page_size: int) -> str:
    """The address of the first page."""
    parts = urlsplit(feed_url)
    return parts._replace(query=urlencode([*parse_qsl(parts.query), ("limit", page_size)])).geturl()


def fetch(url: str, *, known_etag: str | None) -> Page | Unmodified:
    """One page, or that it is as it was when it had this ETag.

    Raises:
        RateLimitedError: the feed wants to be left alone for a while.
        TransientError: the feed is away or answers nonsense.
        PermanentError: the feed refuses, or its pages lead somewhere they must not.
    """
    headers = {"Accept": "application/json"}
    if token := os.environ.get("CATALOGUE_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    if known_etag:
        headers["If-None-Match"] = known_etag
    answer = http_request("GET", url, headers=headers, timeout_s=_TIMEOUT_S)
    if answer.status == _NOT_MODIFIED and known_etag:
        return Unmodified(links="Link" in answer.headers, next_url=_next_url(answer, url))
    _refuse_errors(answer, url)
    return _page(answer, url)


def _refuse_errors(answer: Answer, url: str) -> None:
    said = f"{url} answered {answer.status}"
    if answer.status == _TOO_MANY:
        wait_s = answer.retry_after_s()
        raise RateLimitedError(said, retry_after_s=_UNSAID_RETRY_AFTER_S if wait_s is None else wait_s)
    if answer.status >= 500 or answer.status == _TIMEOUT:  # noqa: PLR2004 - the class of HTTP's server errors
        raise TransientError(said, retry_after_s=answer.retry_after_s())
    if answer.status != 200:  # noqa: PLR2004 - HTTP's "OK"
        raise PermanentError(f"{said}; look at the address and at CATALOGUE_TOKEN")


def _page(answer: Answer, url: str) -> Page:
    body = answer.body
    if not isinstance(body, dict) or not isinstance(body.get("articles"), list):
        # A proxy's page in the feed's place looks like this, and passes.
        raise TransientError(f"{url} answered with no list of articles")
    articles: dict[str, Article] = {}
    bad: list[Bad] = []
    for found in _articles(body["articles"]):
        if isinstance(found, Bad):
            bad.append(found)
        elif articles.setdefault(found.sku, found) != found:
            bad.append(Bad(sku=found.sku, why=f"{found.sku}: twice on one page and not the same"))
    total = body.get("total")
    return Page(
        url=url,
        articles=tuple(articles[sku] for sku in sorted(articles)),
        bad=tuple(bad),
        total=total if isinstance(total, int) and total >= 0 else None,
        # A page with a bad article is read again each time, so that every report has it until it is mended.
        etag=None if bad else _short(answer.headers.get("ETag")),
        next_url=_next_url(answer, url),
    )


def _articles(items: list[Any]) -> Iterator[Article | Bad]:
    for position, item in enumerate(items, start=1):
        try:
            yield Article.model_validate(item)
        except ValidationError as error:
            first = error.errors()[0]
            fields = {part for each in error.errors() for part in each["loc"]}
            sku = item["sku"] if isinstance(item, dict) and "sku" in item and "sku" not in fields else None
            where = ".".join(map(str, first["loc"])) or "the article"
            yield Bad(sku=sku, why=f"{sku or f'article {position} of its page'}: {where}: {first['msg']}"[:200])


def _next_url(answer: Answer, url: str) -> str | None:
    match = _NEXT.search(answer.headers.get("Link", ""))
    if match is None:
        return None
    following: str = urljoin(url, match[1])
    here, there = urlsplit(url), urlsplit(following)
    if (here.scheme, here.netloc) != (there.scheme, there.netloc):
        # The token goes with every request: it must not be sent where a page says.
        raise PermanentError(f"{url} links to {there.netloc} for its next page; only {here.netloc} is asked")
    if len(following) > _LONGEST_LINK or not following.isascii():
        raise PermanentError(f"{url} links to a next page whose address is no URL of up to {_LONGEST_LINK} characters")
    return following


def _short(etag: str | None) -> str | None:
    return etag if etag and len(etag) <= 200 else None  # noqa: PLR2004 - what the column holds
