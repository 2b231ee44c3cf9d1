"""A supplier's catalogue: pages with ETags and next links, as an API has them."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from tests.support.providers.fake_web import Asked, Reply
from workerpool_worker.api import Answer

PATH = "/articles"
ORIGIN = "https://supplier.example"
FEED = f"{ORIGIN}{PATH}"


def some_articles(count: int) -> dict[str, dict[str, Any]]:
    skus = [f"a{number:05}" for number in range(1, count + 1)]
    return {sku: {"sku": sku, "name": f"Article {sku}", "price_minor": 100, "currency": "EUR"} for sku in skus}


class Catalogue:
    """Articles by sku; `extra` on the page behind an article, `replies` in place of the next pages, `slow_s` a page."""

    def __init__(self, count: int) -> None:
        self.articles = some_articles(count)
        self.extra: dict[str, list[Any]] = {}
        self.replies: list[Reply] = []
        self.slow_s = 0.0
        self.tells_total = True
        self.tells_links_again = False
        self.full = Counter[str]()
        self.unmodified = Counter[str]()
        self.tokens: set[str | None] = set()

    @property
    def asked(self) -> Counter[str]:
        """How often each page was asked for; a page is named by the article before it."""
        return self.full + self.unmodified

    def reply(self, asked: Asked) -> Reply:
        """The page that starts behind the article `after`."""
        self.tokens.add(asked.headers.get("Authorization"))
        if self.replies:
            return self.replies.pop(0)
        time.sleep(self.slow_s)
        limit, after = int(asked.fields["limit"]), str(asked.fields.get("after", ""))
        behind = [sku for sku in sorted(self.articles) if sku > after]
        items = [self.articles[sku] for sku in behind[:limit]] + self.extra.get(after, [])
        body: dict[str, Any] = {"articles": items}
        if self.tells_total:
            body["total"] = len(self.articles)
        link = f'<{FEED}?limit={limit}>; rel="first"'
        if len(behind) > limit:
            link += f', <{PATH}?limit={limit}&after={behind[limit - 1]}>; rel="next"'
        # Of the articles alone, as some have it: the next link may change while the ETag does not.
        etag = f'"{hashlib.sha256(json.dumps(items).encode()).hexdigest()[:16]}"'
        if asked.headers.get("If-None-Match") == etag:
            self.unmodified[after] += 1
            return Reply(status=304, headers={"ETag": etag, "Link": link} if self.tells_links_again else {"ETag": etag})
        self.full[after] += 1
        return Reply(body=body, headers={"ETag": etag, "Link": link})

    def request(self, method: str, url: str, *, headers: Mapping[str, str], timeout_s: float) -> Answer:
        """As `http_request`, without HTTP."""
        assert timeout_s > 0
        path, _, query = url.removeprefix(ORIGIN).partition("?")
        assert path == PATH, url
        fields = dict(part.split("=") for part in query.split("&"))
        reply = self.reply(Asked(method=method, path=path, headers=headers, fields=fields))
        return Answer(status=reply.status, headers=reply.headers, body=reply.body)
