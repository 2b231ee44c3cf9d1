"""The Kubernetes API as plain dictionaries: the few requests this operator makes, and how they may fail.

Transport, TLS and authentication are those of the official client; its generated models are not used: they cost time
at every poll, and drop fields that they do not know yet. Errors are drawn in
:mod:`workerpool_operator.kube.api_errors`, paths come from :mod:`workerpool_operator.kube.api_paths`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, cast

from kubernetes.aio.client.configuration import Configuration

from workerpool_operator.kube.api_config import Access
from workerpool_operator.kube.api_errors import (
    ApiError,
    Conflict,
    Forbidden,
    Invalid,
    NotConfigured,
    NotFound,
    NotLeading,
    Unauthorized,
    Unreachable,
    from_response,
)
from workerpool_operator.kube.api_transport import FIELD_MANAGER, Answer, Request, Transport

__all__ = [
    "ApiError",
    "Conflict",
    "Forbidden",
    "Invalid",
    "Json",
    "KubeApi",
    "NotConfigured",
    "NotFound",
    "NotLeading",
    "Unauthorized",
    "Unreachable",
]

Json = dict[str, Any]
Items = list[Json]

TIMEOUT_S = 10.0
MAX_WRITES = 16
"""Writes under way at one time; an API server's fairness queues prefer many small clients to one that floods them."""

_MAX_READS = 16
_URGENT = 4  # connections kept free for requests that must not queue
_PAGE = 250
_MAX_THROTTLED = 3
_MAX_RETRY_AFTER_S = 10.0


class KubeApi:
    """One API server. To be entered: ``async with KubeApi() as api``."""

    def __init__(
        self,
        *,
        kubeconfig: Path | str | None = None,
        context: str | None = None,
        timeout_s: float = TIMEOUT_S,
        max_writes: int = MAX_WRITES,
    ) -> None:
        """Nothing is read or opened yet.

        Args:
            kubeconfig: The file to use; without one, the pod's service account, else what kubectl would take.
            context: One of the kubeconfig's contexts, its current one when None.
            timeout_s: How long one request may take, its answer included.
            max_writes: How many writes may be under way at one time; the others wait.
        """
        self._reads = asyncio.Semaphore(_MAX_READS)
        self._writes = asyncio.Semaphore(max_writes)
        self._transport = Transport(
            Access(kubeconfig=Path(kubeconfig) if kubeconfig is not None else None, context=context),
            timeout_s=timeout_s,
            connections=max_writes + _MAX_READS + _URGENT,
        )
        self.may_write: Callable[[], bool] = lambda: True
        """Asked right before each write that is not urgent: who was paused in between may lead no more."""
        self.writes_total: Counter[tuple[str, str]] = Counter()
        """Writes sent, by (verb, resource) as RBAC names them: ``("patch", "deployments/scale")``."""

    async def __aenter__(self) -> Self:
        """Read the configuration.

        Raises:
            NotConfigured: There is none that can be used.
        """
        await self._transport.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self._transport.close()

    @property
    def configuration(self) -> Configuration:
        """Address, trust and credentials, for a client of another library. Never to be logged."""
        return self._transport.configuration

    async def get(self, path: str, *, urgent: bool = False) -> Json:
        """Read one object."""
        return await self._ask(Request(method="GET", verb="get", path=path), urgent=urgent)

    async def list(self, path: str, *, label_selector: str = "", field_selector: str = "") -> Items:
        """Read all objects of a collection, in pages. The API leaves out their ``kind`` and ``apiVersion``."""
        query = {"limit": str(_PAGE), "labelSelector": label_selector, "fieldSelector": field_selector}
        items: Items = []
        while True:
            try:
                page = await self._ask(Request(method="GET", verb="list", path=path, query=query))
            except ApiError as error:
                if error.status != HTTPStatus.GONE or "limit" not in query:
                    raise
                # the list changed too much while it was read in pages: read it whole
                items, query = [], {name: query[name] for name in ("labelSelector", "fieldSelector")}
                continue
            items += [_without_managers(item) for item in page.get("items") or []]
            query["continue"] = page.get("metadata", {}).get("continue", "")
            if not query["continue"]:
                return items

    async def create(self, path: str, body: Mapping[str, Any], *, urgent: bool = False) -> Json:
        """Create an object in the collection ``path``. One that exists is a :class:`Conflict`."""
        return await self._ask(Request(method="POST", verb="create", path=path, body=body), urgent=urgent)

    async def apply(
        self, path: str, body: Mapping[str, Any], *, field_manager: str = FIELD_MANAGER, force: bool = True
    ) -> Json:
        """Server-side apply: create the object, or own exactly these fields of it."""
        query = {"fieldManager": field_manager, "force": "true" if force else "false"}
        return await self._patch(path, body, "apply-patch+yaml", query)

    async def merge_patch(
        self, path: str, body: Mapping[str, Any], *, resource_version: str | None = None, urgent: bool = False
    ) -> Json:
        """JSON merge patch: set these fields, None removes one.

        Args:
            path: The object, or a subresource of it.
            body: What to set.
            resource_version: The version that must still be there, else a :class:`Conflict`.
            urgent: Do not wait for other writes.
        """
        if resource_version is not None:
            body = {**body, "metadata": {**body.get("metadata", {}), "resourceVersion": resource_version}}
        query = {"fieldManager": FIELD_MANAGER}
        return await self._patch(path, body, "merge-patch+json", query, urgent=urgent)

    async def json_patch(self, path: str, operations: Sequence[Mapping[str, Any]]) -> Json:
        """JSON patch. A ``test`` operation that does not hold is :class:`Invalid`."""
        query = {"fieldManager": FIELD_MANAGER}
        return await self._patch(path, [*operations], "json-patch+json", query)

    async def delete(
        self,
        path: str,
        *,
        uid: str | None = None,
        propagation: Literal["Background", "Foreground", "Orphan"] = "Background",
    ) -> None:
        """Delete one object; with ``uid``, only if it is still that one, else a :class:`Conflict`."""
        options: Json = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        await self._ask(Request(method="DELETE", verb="delete", path=path, body=options))

    async def _patch(
        self, path: str, body: object, kind: str, query: Mapping[str, str], *, urgent: bool = False
    ) -> Json:
        content_type = f"application/{kind}"
        request = Request(method="PATCH", verb="patch", path=path, body=body, content_type=content_type, query=query)
        return await self._ask(request, urgent=urgent)

    async def _ask(self, request: Request, *, urgent: bool = False) -> Json:
        """One request, sent again when the API server asks for patience or the credentials went stale."""
        throttled, renewed = 0, False
        while True:
            answer = await self._send(request, urgent=urgent)
            status, wait_s = answer.status, answer.retry_after_s
            if status < HTTPStatus.BAD_REQUEST:
                return cast("Json", json.loads(answer.body)) if answer.body else {}
            if status == HTTPStatus.UNAUTHORIZED and not renewed:
                renewed = True
                await self._transport.renew()
            elif status == HTTPStatus.TOO_MANY_REQUESTS and wait_s is not None and throttled < _MAX_THROTTLED:
                throttled += 1
                await asyncio.sleep(min(wait_s, _MAX_RETRY_AFTER_S))
            else:
                raise from_response(status, answer.body, verb=request.verb, target=request.target)

    async def _send(self, request: Request, *, urgent: bool) -> Answer:
        limit = self._writes if request.writes else self._reads
        async with contextlib.nullcontext() if urgent else limit:
            if request.writes:
                if not urgent and not self.may_write():
                    raise NotLeading(status=0, reason="NotLeading", message="this operator does not lead any more")
                self.writes_total[request.verb, request.target.resource] += 1
            return await self._transport.send(request)


def _without_managers(item: Json) -> Json:
    """An object of a listing without the managers of its fields, which are half of it and which nobody reads."""
    item.get("metadata", {}).pop("managedFields", None)
    return item
