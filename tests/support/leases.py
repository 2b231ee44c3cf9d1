"""The lease endpoint in memory, and the contract that it and the real one are held to."""

# ruff: noqa: ARG002 - the signatures are those of the real endpoint

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest

from workerpool_operator.kube import api_paths, lease_object
from workerpool_operator.kube.api_errors import ApiError, Conflict, NotFound, Unreachable
from workerpool_operator.kube.lease import LeaseApi

Json = dict[str, Any]


class FakeLeases:
    """One namespace's Leases. ``fault`` is raised by every request while it is set."""

    def __init__(self) -> None:
        self.objects: dict[str, Json] = {}
        self.fault: ApiError | None = None
        self.requests = 0
        self._version = 0

    async def get(self, path: str, *, urgent: bool = False) -> Json:
        self._ask()
        return copy.deepcopy(self._find(path))

    async def create(self, path: str, body: Mapping[str, Any], *, urgent: bool = False) -> Json:
        self._ask()
        where = f"{path}/{body['metadata']['name']}"
        if where in self.objects:
            raise Conflict(status=409, reason="AlreadyExists", message=f"{where} already exists")
        self.objects[where] = copy.deepcopy(dict(body))
        return self._stamp(where)

    async def merge_patch(
        self, path: str, body: Mapping[str, Any], *, resource_version: str | None = None, urgent: bool = False
    ) -> Json:
        self._ask()
        found = self._find(path)
        if resource_version is not None and resource_version != found["metadata"]["resourceVersion"]:
            raise Conflict(status=409, reason="Conflict", message="the object has been modified")
        found["spec"] |= body["spec"]
        return self._stamp(path)

    def delete(self, path: str) -> None:
        del self.objects[path]

    def cut_off(self) -> None:
        """Every request fails from now on."""
        self.fault = Unreachable(status=0, reason="Unreachable", message="no connection")

    def _ask(self) -> None:
        self.requests += 1
        if self.fault is not None:
            raise self.fault

    def _find(self, path: str) -> Json:
        if path not in self.objects:
            raise NotFound(status=404, reason="NotFound", message=f"{path} not found")
        return self.objects[path]

    def _stamp(self, path: str) -> Json:
        self._version += 1
        self.objects[path]["metadata"]["resourceVersion"] = str(self._version)
        return copy.deepcopy(self.objects[path])


async def check_lease_contract(api: LeaseApi, namespace: str) -> None:
    """What leadership relies on. Any lease endpoint must pass."""
    one, all_ = api_paths.lease(namespace, "contract"), api_paths.leases(namespace)
    body = lease_object.new(namespace=namespace, name="contract", identity="a", duration_s=7.5)
    with pytest.raises(NotFound):
        await api.get(one)
    with pytest.raises(NotFound):
        await api.merge_patch(one, lease_object.renewed(identity="a", duration_s=8), resource_version="1")
    created = lease_object.parse(await api.create(all_, body))
    assert (created.holder, created.duration_s, created.transitions) == ("a", 8.0, 0)
    assert created.renewed == body["spec"]["renewTime"]
    assert lease_object.parse(await api.get(one)) == created
    with pytest.raises(Conflict):
        await api.create(all_, body)
    patch = lease_object.taken(created, identity="b", duration_s=8)
    taken = lease_object.parse(await api.merge_patch(one, patch, resource_version=created.version))
    assert (taken.holder, taken.transitions) == ("b", 1)
    assert taken.version != created.version
    with pytest.raises(Conflict):
        await api.merge_patch(one, lease_object.renewed(identity="a", duration_s=8), resource_version=created.version)
    assert lease_object.parse(await api.get(one)) == taken
    freed = await api.merge_patch(one, lease_object.released(), resource_version=taken.version)
    assert lease_object.parse(freed).holder == ""
    assert freed["spec"]["acquireTime"] == patch["spec"]["acquireTime"]
