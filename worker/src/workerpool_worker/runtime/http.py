"""HTTP to a provider: connections kept within a process, time-outs everywhere, and what a failure may have done.

A request that was never sent may be sent again at will. One that was sent and not answered has an unknown outcome.
"""

from __future__ import annotations

import json
import os
import ssl
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ProxyError, SSLError

from workerpool_worker.runtime.errors import ProviderTimeoutError, TransientError

_CONNECT_S = 10.0
_IDLE_CONNECTIONS = 2
_pools: dict[tuple[int, str | None], urllib3.PoolManager] = {}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An HTTP answer. `body` is the parsed JSON, None where it is none; header names are looked up in any case.

    `raw` is the body as it came, for what is no JSON.
    """

    status: int
    headers: Mapping[str, str]
    body: Any
    raw: bytes = b""

    def retry_after_s(self, now_s: float | None = None) -> float | None:
        """Seconds of the Retry-After header (a number or a date); None without one that can be read."""
        text = self.headers.get("Retry-After", "").strip()
        if text.isdigit():
            return float(text)
        try:
            due_s = parsedate_to_datetime(text).timestamp()
        except ValueError:
            return None
        return max(due_s - (time.time() if now_s is None else now_s), 0.0)


def request(
    method: str, url: str, *, headers: Mapping[str, str], timeout_s: float, body: str | bytes | None = None
) -> Answer:
    """Send one request over a kept connection, once: no retries, no redirects.

    HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE of the environment are followed.

    Raises:
        TransientError: nothing was sent, or no answer came to a GET, which changes nothing.
        ProviderTimeoutError: it was sent, or may have been, and no answer came.
    """
    place = urlsplit(url).netloc
    try:
        # The content is read within: a connection that breaks in the middle of an answer fails here.
        response = _pool(url).request(
            method,
            url,
            body=body,
            headers=dict(headers),
            retries=False,
            redirect=False,
            timeout=urllib3.Timeout(connect=min(_CONNECT_S, timeout_s), read=timeout_s),
        )
    except (NewConnectionError, ConnectTimeoutError, ProxyError) as error:
        raise TransientError(f"cannot connect to {place}: {error}") from error
    except SSLError as error:
        if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in (*error.args, error.__cause__)):
            raise TransientError(f"{place} is not trusted: {error}") from error
        raise _unanswered(method, place, error) from error
    except HTTPError as error:
        raise _unanswered(method, place, error) from error
    return Answer(status=response.status, headers=response.headers, body=_json(response.data), raw=response.data)


def _pool(url: str) -> urllib3.PoolManager:
    parts = urlsplit(url)
    proxy = None
    if not urllib.request.proxy_bypass(parts.hostname or ""):
        proxy = urllib.request.getproxies().get(parts.scheme)
    # The process id: a connection must not be shared with the parent it was inherited from.
    key = (os.getpid(), proxy)
    if key not in _pools:
        _pools[key] = (
            urllib3.ProxyManager(proxy, maxsize=_IDLE_CONNECTIONS)
            if proxy
            else urllib3.PoolManager(maxsize=_IDLE_CONNECTIONS)
        )
    return _pools[key]


def _unanswered(method: str, place: str, error: Exception) -> TransientError:
    kind = TransientError if method == "GET" else ProviderTimeoutError
    return kind(f"no answer from {place}: {error}")


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None
