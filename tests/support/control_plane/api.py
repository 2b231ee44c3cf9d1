"""A small blocking client of the Kubernetes API, so that tests can say what they mean in a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

from kubernetes import client, config

Object = dict[str, Any]

# Where the resources live that tests speak of; `path` takes their plural names.
GROUPS = {
    "/api/v1": "namespaces nodes pods secrets configmaps events serviceaccounts services",
    "/apis/apps/v1": "deployments replicasets statefulsets",
    "/apis/autoscaling/v2": "horizontalpodautoscalers",
    "/apis/policy/v1": "poddisruptionbudgets",
    "/apis/coordination.k8s.io/v1": "leases",
    "/apis/rbac.authorization.k8s.io/v1": "roles rolebindings clusterroles clusterrolebindings",
    "/apis/apiextensions.k8s.io/v1": "customresourcedefinitions",
    "/apis/workerpool.dev/v1alpha1": "workerpools",
}
GROUP_OF = {plural: group for group, plurals in GROUPS.items() for plural in plurals.split()}
PATCHES = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
HTTP_BAD = 400
HTTP_MISSING = 404


class RefusedError(Exception):
    """The API server said no; ``status`` is the HTTP status, ``message`` its reason in words, ``body`` all it said."""

    def __init__(self, status: int, body: Any) -> None:
        self.status = status
        self.body = body
        self.message = str(body.get("message", body)) if isinstance(body, dict) else str(body)
        super().__init__(f"{status}: {self.message}")


@dataclass(frozen=True)
class Answer:
    """An HTTP status and the JSON that came with it."""

    status: int
    body: Any


def path(plural: str, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
    """The address of a resource: ``path("deployments", "shop", "email", "scale")``."""
    inside = f"/namespaces/{namespace}" if namespace else ""
    return f"{GROUP_OF[plural]}{inside}/{plural}" + "".join(f"/{part}" for part in (name, subresource) if part)


def collection_of(thing: Object) -> str:
    """The address a manifest is posted to."""
    version, kind = str(thing["apiVersion"]), str(thing["kind"]).lower()
    plural = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
    group = f"/apis/{version}" if "/" in version else f"/api/{version}"
    namespace = thing["metadata"].get("namespace")
    return f"{group}/namespaces/{namespace}/{plural}" if namespace else f"{group}/{plural}"


def path_of(thing: Object) -> str:
    """The address of a manifest's object."""
    return f"{collection_of(thing)}/{thing['metadata']['name']}"


class Api:
    """The API server as the user of one kubeconfig; every call raises :class:`RefusedError` but ``request``."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        settings = client.Configuration()
        config.load_kube_config(str(kubeconfig), client_configuration=settings)  # type: ignore[no-untyped-call]
        settings.retries = False
        self.url = str(settings.host)
        self.ca_file = Path(settings.ssl_ca_cert) if settings.ssl_ca_cert else None
        self._client = client.ApiClient(settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._client.rest_client.pool_manager.clear()
        self._client.close()  # type: ignore[no-untyped-call]

    def request(
        self,
        method: str,
        where: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        accept: str = "application/json",
        timeout_s: float = 30,
        **query: Any,
    ) -> Answer:
        """One request; a refusal is an answer like any other."""
        pairs: list[tuple[str, str]] = [(key, str(value)) for key, value in query.items() if value is not None]
        headers = {"Accept": accept, "Content-Type": content_type}
        self._client.update_params_for_auth(headers, pairs, ["BearerToken"], where, method, body)
        url = f"{self.url}{where}" + (f"?{urlencode(pairs)}" if pairs else "")
        response = self._client.rest_client.pool_manager.request(
            method, url, headers=headers, body=None if body is None else json.dumps(body), timeout=timeout_s
        )
        try:
            return Answer(response.status, json.loads(response.data))
        except ValueError:
            return Answer(response.status, response.data.decode(errors="replace"))

    def call(self, method: str, where: str, body: Any = None, **options: Any) -> Any:
        """One request that has to succeed; the JSON it gave."""
        answer = self.request(method, where, body, **options)
        if answer.status >= HTTP_BAD:
            raise RefusedError(answer.status, answer.body)
        return answer.body

    def get(self, where: str, **query: Any) -> Any:
        """Read one object, or a text such as ``/readyz``."""
        return self.call("GET", where, **query)

    def find(self, where: str) -> Any:
        """Read one object, None where there is none."""
        answer = self.request("GET", where)
        if answer.status == HTTP_MISSING:
            return None
        if answer.status >= HTTP_BAD:
            raise RefusedError(answer.status, answer.body)
        return answer.body

    def list(self, where: str, *, selector: str | None = None, **query: Any) -> list[Object]:
        """The objects of a collection, with labels that match."""
        items: list[Object] = self.call("GET", where, labelSelector=selector, **query)["items"]
        return items

    def watch(self, where: str, *, timeout_s: int) -> Iterator[Object]:
        """The events of a collection, its present objects first, until the time is over."""
        headers, pairs = {"Accept": "application/json"}, [("watch", "true"), ("timeoutSeconds", str(timeout_s))]
        self._client.update_params_for_auth(headers, pairs, ["BearerToken"], where, "GET", None)
        response = self._client.rest_client.pool_manager.request(
            "GET", f"{self.url}{where}?{urlencode(pairs)}", headers=headers, preload_content=False, timeout=timeout_s
        )
        rest = b""
        for chunk in response.stream(None):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (json.loads(line) for line in lines)

    def create(self, thing: Object, **query: Any) -> Any:
        """Create an object where its manifest says."""
        return self.call("POST", collection_of(thing), thing, **query)

    def apply(self, thing: Object, *, field_manager: str = "tests", force: bool = True) -> Any:
        """Server-side apply of a manifest."""
        return self.call(
            "PATCH", path_of(thing), thing, content_type=PATCHES["apply"], fieldManager=field_manager,
            force=str(force).lower(),
        )  # fmt: skip

    def patch(self, where: str, change: Any, *, kind: str = "merge", **query: Any) -> Any:
        """Change an object: ``kind`` is merge, json, strategic or apply."""
        return self.call("PATCH", where, change, content_type=PATCHES[kind], **query)

    def replace(self, thing: Object, *, subresource: str | None = None) -> Any:
        """Put an object where its manifest says."""
        return self.call("PUT", path_of(thing) + (f"/{subresource}" if subresource else ""), thing)

    def scale(self, where: str, replicas: int) -> Any:
        """Set the replicas of an object through its scale subresource."""
        return self.patch(f"{where}/scale", {"spec": {"replicas": replicas}})

    def delete(self, where: str, **query: Any) -> None:
        """Delete an object or a collection; one that is gone already is fine."""
        answer = self.request("DELETE", where, **query)
        if answer.status >= HTTP_BAD and answer.status != HTTP_MISSING:
            raise RefusedError(answer.status, answer.body)
