"""Who does not lead writes nothing, whatever was under way; only the Lease is written by everybody."""

from __future__ import annotations

import pytest

from workerpool_operator.kube import api_paths
from workerpool_operator.kube.api import KubeApi, NotLeading
from workerpool_operator.kube.api_transport import Answer, Request

pytestmark = pytest.mark.unit


async def test_leading_is_asked_for_right_before_each_write(monkeypatch: pytest.MonkeyPatch) -> None:
    api, sent = KubeApi(), list[Request]()

    async def send(request: Request) -> Answer:
        sent.append(request)
        return Answer(status=200, body=b"{}")

    monkeypatch.setattr(api._transport, "send", send)
    leads = True
    api.may_write = lambda: leads
    await api.merge_patch(api_paths.pod("shop", "a"), {})
    leads = False
    with pytest.raises(NotLeading, match="does not lead any more"):
        await api.merge_patch(api_paths.pod("shop", "a"), {})
    with pytest.raises(NotLeading):
        await api.delete(api_paths.pod("shop", "a"))
    await api.get(api_paths.pod("shop", "a"))
    await api.merge_patch(api_paths.lease("shop", "operator"), {}, urgent=True)
    assert [request.verb for request in sent] == ["patch", "get", "patch"]
    assert sum(api.writes_total.values()) == 2
