"""One request and its answer: the official client's connections, TLS and credentials, and nothing above them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlencode
from urllib.request import getproxies

import aiohttp
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config.config_exception import ConfigException

from workerpool_operator.kube.api_config import Access
from workerpool_operator.kube.api_errors import NotConfigured, no_answer
from workerpool_operator.kube.api_paths import Target

FIELD_MANAGER = "workerpool-operator"


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What to send. ``verb`` is RBAC's; query parameters that are empty are left out."""

    method: str
    verb: str
    path: str
    body: object = None
    content_type: str = "application/json"
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def target(self) -> Target:
        """What it is about."""
        return Target.of(self.path)

    @property
    def writes(self) -> bool:
        """Whether it may change something."""
        return self.method != "GET"

    @property
    def url(self) -> str:
        """Path and query."""
        pairs = urlencode({name: value for name, value in self.query.items() if value})
        return self.path + ("?" + pairs if pairs else "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came back. ``retry_after_s`` is None unless the server asked for patience."""

    status: int
    body: bytes
    retry_after_s: float | None = None


class Transport:
    """The connections to one API server."""

    def __init__(self, access: Access, *, timeout_s: float, connections: int) -> None:
        self._access, self._timeout_s, self._connections = access, timeout_s, connections
        self._client: ApiClient | None = None

    async def open(self) -> None:
        """Read the configuration.

        Raises:
            NotConfigured: There is none that can be used.
        """
        configuration = Configuration()
        await self._access.load(configuration)
        configuration.connection_pool_maxsize = self._connections
        # or else ~/.netrc would be looked up for each request, in another thread; kubectl knows proxies and no netrc
        configuration.client_session_kwargs = {"trust_env": bool(getproxies())}
        try:
            self._client = ApiClient(configuration)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            message = f"cannot use the certificates for {configuration.host}: {error}; check the kubeconfig"
            raise NotConfigured(status=0, reason="NotConfigured", message=message) from error

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            close = cast("Callable[[], Awaitable[None]]", self._client.close)
            self._client = None
            await close()

    @property
    def configuration(self) -> Configuration:
        """Address, trust and credentials."""
        return cast("Configuration", self._opened.configuration)

    async def renew(self) -> None:
        """Read the credentials again.

        Raises:
            NotConfigured: They are gone.
        """
        await self._access.load(self.configuration)

    async def send(self, request: Request) -> Answer:
        """One request, one answer, whatever its status.

        Raises:
            Unreachable: There was no answer.
            NotConfigured: The credentials cannot be read any more.
        """
        headers = {"Accept": "application/json", "Content-Type": request.content_type, "User-Agent": FIELD_MANAGER}
        send = cast("Callable[..., Awaitable[Any]]", self._opened.rest_client.request)
        try:
            await self._opened.update_params_for_auth(headers, [], ["BearerToken"], request.url, request.method, None)
            answer = await send(
                request.method,
                self.configuration.host + request.url,
                headers=headers,
                body=request.body,
                _request_timeout=aiohttp.ClientTimeout(total=self._timeout_s),
            )
            response: aiohttp.ClientResponse = answer.response
            async with response:
                wait_s = _retry_after_s(response.headers.get("Retry-After"))
                return Answer(status=response.status, body=await response.read(), retry_after_s=wait_s)
        except ConfigException as error:  # the pod's token file went away
            message = f"cannot read the credentials: {error}; is the service account's token still mounted?"
            raise NotConfigured(status=0, reason="NotConfigured", message=message) from error
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            raise no_answer(error, verb=request.verb, target=request.target, timeout_s=self._timeout_s) from error

    @property
    def _opened(self) -> ApiClient:
        if self._client is None:
            message = "this KubeApi is not open; use it as `async with KubeApi() as api`"
            raise RuntimeError(message)
        return self._client


def _retry_after_s(value: str | None) -> float | None:
    """Seconds to wait; the API server never sends the other form of the header, a date."""
    return float(value) if value is not None and value.isdigit() else None
