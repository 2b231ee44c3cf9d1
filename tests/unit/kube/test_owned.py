"""What pools own: rendered and written only when something changed, and a creation that was cut short is completed."""

# ruff: noqa: ARG002 - the signatures are those of the real client

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest

from tests.unit.kube.test_registry import EMAIL, pool
from workerpool_operator.kube import owned as module
from workerpool_operator.kube.api import KubeApi, NotFound, Unreachable
from workerpool_operator.kube.names import SCALER_MANAGER
from workerpool_operator.kube.owned import STAMP, Owned
from workerpool_operator.kube.registry import Registry
from workerpool_operator.kube.render import deployment as render_deployment
from workerpool_operator.ports import PoolKey

pytestmark = pytest.mark.unit

Body = dict[str, Any]


class Api(KubeApi):
    """One Deployment, and what was asked for; ``fails_at`` is the number of the apply that gets no answer."""

    def __init__(self) -> None:
        super().__init__()
        self.applied: list[tuple[str, Body]] = []
        self.live: Body = {"metadata": {"namespace": "shop", "name": "email", "uid": "d1"}, "spec": {}}
        self.fails_at: int | None = None

    async def apply(
        self, path: str, body: Mapping[str, Any], *, field_manager: str = "workerpool-operator", force: bool = True
    ) -> Body:
        if "/poddisruptionbudgets/" in path:
            return {}
        if len(self.applied) == self.fails_at:
            self.fails_at = None
            raise Unreachable(status=0, reason="Unreachable", message="no answer")
        self.applied.append((field_manager, copy.deepcopy(dict(body))))
        version = str(len(self.applied))
        self.live["metadata"] |= {**body["metadata"], "resourceVersion": version}
        self.live["spec"] |= body["spec"]
        return copy.deepcopy(self.live)

    async def get(self, path: str, *, urgent: bool = False) -> Body:
        raise NotFound(status=404, reason="NotFound", message="there is no budget")


async def ensure(owned: Owned, registry: Registry) -> None:
    known = registry.pools[EMAIL]
    assert known.pool is not None
    await owned.ensure(known, known.pool, broker_revision=None)


@pytest.fixture
def registry() -> Registry:
    found = Registry()
    found.see_pool(pool())
    return found


async def test_the_stamp_comes_with_the_last_of_three_applies(registry: Registry) -> None:
    api = Api()
    await ensure(Owned(api, registry), registry)
    managers = [manager for manager, _ in api.applied]
    assert managers == ["workerpool-operator", SCALER_MANAGER, "workerpool-operator"]
    stamped = [STAMP in (body["metadata"].get("annotations") or {}) for _, body in api.applied]
    assert stamped == [False, False, True]
    assert ["replicas" in body["spec"] for _, body in api.applied] == [True, True, False]


@pytest.mark.parametrize("fails_at", [1, 2])
async def test_a_creation_that_was_cut_short_is_completed_by_whoever_comes_next(
    registry: Registry, fails_at: int
) -> None:
    """The size keeps its owner: else the next apply would let the API server fill in 1."""
    api = Api()
    api.fails_at = fails_at
    with pytest.raises(Unreachable):
        await ensure(Owned(api, registry), registry)
    registry.see_deployment(api.live)
    await ensure(Owned(api, registry), registry)
    assert [manager for manager, _ in api.applied][-2:] == [SCALER_MANAGER, "workerpool-operator"]
    assert STAMP in api.live["metadata"]["annotations"]


async def test_nothing_is_rendered_while_nothing_changes(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    api, rendered = Api(), 0
    owned, render = Owned(api, registry), render_deployment

    def counted(*args: Any, **named: Any) -> Body:
        nonlocal rendered
        rendered += 1
        return render(*args, **named)

    monkeypatch.setattr(module, "deployment", counted)
    for _ in range(5):
        await ensure(owned, registry)
    assert rendered == 2, "once to create it, once to find that it is right"
    assert len(api.applied) == 3
    changed = copy.deepcopy(api.live)
    changed["metadata"]["resourceVersion"] = "9"
    changed["spec"]["template"]["spec"]["containers"] = []
    registry.see_deployment(changed)
    await ensure(owned, registry)
    assert len(api.applied) == 4, "somebody changed it"


def test_a_status_of_a_deployment_is_told_as_such_and_its_spec_otherwise() -> None:
    changes: list[PoolKey] = []
    statuses: list[PoolKey] = []
    registry = Registry(on_change=changes.append, on_status=statuses.append)
    registry.see_pool(pool())
    body: Body = {
        "metadata": {"namespace": "shop", "name": "email", "uid": "d1", "resourceVersion": "5", "generation": 1},
        "spec": {"replicas": 0, "template": {}},
    }
    registry.see_deployment(body)
    changes.clear()
    body["metadata"]["resourceVersion"] = "6"
    registry.see_deployment({**body, "status": {"replicas": 1}})
    assert (changes, statuses) == ([], [EMAIL])
    assert registry.deployments["shop", "email"].pods == 1
    changed = copy.deepcopy(body)
    changed["metadata"] |= {"resourceVersion": "7", "ownerReferences": [{"controller": True, "uid": "x"}]}
    registry.see_deployment(changed)
    assert (changes, statuses) == ([EMAIL], [EMAIL])


def test_a_status_of_a_pool_does_not_have_its_spec_read_again() -> None:
    changes: list[PoolKey] = []
    registry = Registry(on_change=changes.append)
    registry.see_pool(pool(version=1))
    parsed = registry.pools[EMAIL].pool
    changes.clear()
    body = pool(version=1)
    body["metadata"]["resourceVersion"] = "2"
    registry.see_pool({**body, "status": {"replicas": 3}})
    assert registry.pools[EMAIL].pool is parsed
    assert registry.pools[EMAIL].status == {"replicas": 3}
    assert changes == []
