"""What the mail sink shows over HTTP.

GET /mails?since=N   the mails after the N-th, a JSON object a line, oldest first
GET /mails/N         the N-th mail as it came in
GET /counts          how many, and what came more than once
GET /healthz         200
GET /                a page for people
DELETE /mails        forget them all
"""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .page import page
from .store import Store

_ONE_MAIL = re.compile(r"/mails/(\d{1,9})")
_NUMBER = re.compile(r"\d{1,9}")
_CLIENT_TIMEOUT_S = 30


def handler_for(store: Store) -> type[BaseHTTPRequestHandler]:
    """The request handler of a store."""

    class Handler(_Handler):
        mails = store

    return Handler


class _Handler(BaseHTTPRequestHandler):
    mails: Store
    protocol_version = "HTTP/1.1"
    timeout = _CLIENT_TIMEOUT_S

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        one = _ONE_MAIL.fullmatch(url.path)
        if url.path == "/healthz":
            self._answer(HTTPStatus.OK, "ok\n", "text/plain")
        elif url.path == "/counts":
            self._answer(HTTPStatus.OK, json.dumps(self.mails.counts()) + "\n", "application/json")
        elif url.path == "/mails":
            self._list(parse_qs(url.query).get("since", ["0"])[0])
        elif one:
            self._mail(int(one[1]))
        elif url.path == "/":
            self._answer(HTTPStatus.OK, page(self.mails), "text/html; charset=utf-8")
        else:
            self._answer(HTTPStatus.NOT_FOUND, "nothing here\n", "text/plain")

    def do_DELETE(self) -> None:
        if urlsplit(self.path).path == "/mails":
            self._answer(HTTPStatus.OK, json.dumps({"deleted": self.mails.clear()}) + "\n", "application/json")
        else:
            self._answer(HTTPStatus.NOT_FOUND, "DELETE /mails is all there is\n", "text/plain")

    def _list(self, since: str) -> None:
        if not _NUMBER.fullmatch(since):
            self._answer(HTTPStatus.BAD_REQUEST, "since: a whole number, such as ?since=10\n", "text/plain")
            return
        lines = (json.dumps(mail.as_json()) + "\n" for mail in self.mails.mails(since=int(since)))
        self._answer(HTTPStatus.OK, "".join(lines), "application/x-ndjson")

    def _mail(self, index: int) -> None:
        content = self.mails.content(index)
        if content is None:
            self._answer(HTTPStatus.NOT_FOUND, f"no mail {index}\n", "text/plain")
        else:
            # As plain text: a browser shows it, and runs nothing that came in a mail.
            self._answer(HTTPStatus.OK, content, "text/plain; charset=utf-8")

    def _answer(self, status: HTTPStatus, body: str | bytes, kind: str) -> None:
        content = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the standard library's name
        """Say nothing: the probes would fill the log."""
