"""Kopf wiring, and nothing else: events into the registry.

Kopf is used level-triggered: ``on.event`` only, so that it writes neither finalizers nor annotations. What its watches
may miss while they reconnect (a deletion) is found by the listings in :mod:`~workerpool_operator.kube.resync`.

The handlers are coroutines though they wait for nothing: Kopf runs plain functions in other threads, and what they
touch belongs to the event loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import kopf
from kubernetes.aio.client.configuration import Configuration

from workerpool_operator.kube.api_paths import GROUP, VERSION
from workerpool_operator.kube.registry import Registry

WATCH_SILENCE_S = 70.0


def wire(registry: Registry, configuration: Configuration) -> kopf.OperatorRegistry:
    """Make Kopf's registry of handlers that feed ours.

    Args:
        registry: Where events go.
        configuration: Address and credentials of the API server, shared with our own requests.
    """
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return connection_info(configuration)

    @kopf.on.event(GROUP, VERSION, "workerpools", registry=handlers)
    async def pool(event: Mapping[str, Any], **_: Any) -> None:
        registry.see_pool(event["object"], gone=event["type"] == "DELETED")

    @kopf.on.event("apps", "v1", "deployments", registry=handlers)
    async def deployment(event: Mapping[str, Any], **_: Any) -> None:
        registry.see_deployment(event["object"], gone=event["type"] == "DELETED")

    @kopf.on.event("", "v1", "pods", registry=handlers, when=lambda labels, **_: registry.is_wanted_pod(labels))
    async def pod(event: Mapping[str, Any], **_: Any) -> None:
        registry.see_pod(event["object"], gone=event["type"] == "DELETED")

    @kopf.on.event("autoscaling", "v2", "horizontalpodautoscalers", registry=handlers)
    async def autoscaler(event: Mapping[str, Any], **_: Any) -> None:
        registry.see_autoscaler(event["object"], gone=event["type"] == "DELETED")

    return handlers


def kopf_settings() -> kopf.OperatorSettings:
    """Kopf without peering, posting, scanning and its own log handlers."""
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.watching.inactivity_timeout = WATCH_SILENCE_S
    settings.networking.request_timeout = 30
    settings.persistence.diffbase_storage = _NoDiffs()
    settings.persistence.progress_storage = _NoProgress()
    return settings


class _NoDiffs(kopf.DiffBaseStorage):
    """Of each event Kopf copies the object in order to find what changed: half of what an event costs, for nobody."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        """Keep nothing."""


class _NoProgress(kopf.ProgressStorage):
    """Handlers of events have no progress."""

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        """Keep nothing."""

    def purge(self, **_: Any) -> None:
        """Nothing was kept."""

    def touch(self, **_: Any) -> None:
        """Nothing was kept."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        return essence


def connection_info(configuration: Configuration) -> kopf.ConnectionInfo:
    """The official client's configuration in Kopf's words."""
    token = (configuration.api_key or {}).get("BearerToken") or (configuration.api_key or {}).get("authorization")
    scheme, _, value = (token or "").rpartition(" ")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        scheme=(scheme or "Bearer") if value else None,
        token=value or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        username=configuration.username or None,
        password=configuration.password or None,
    )
