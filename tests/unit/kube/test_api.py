"""The API client against a server that answers what a test says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from workerpool_operator.kube import api_paths as paths
from workerpool_operator.kube.api import (
    ApiError,
    Conflict,
    Forbidden,
    Invalid,
    KubeApi,
    NotConfigured,
    NotFound,
    Unauthorized,
    Unreachable,
)
from workerpool_operator.kube.api_paths import Target

Answer = Callable[[web.Request], Awaitable[web.Response]]


@dataclass
class Asked:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class Server:
    """Answers with ``answers`` in turn, the last one over and over."""

    kubeconfig: Path
    port: int = 0
    answers: list[Answer] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0

    async def handle(self, request: web.Request) -> web.Response:
        text = await request.text()
        asked = Asked(
            method=request.method,
            path=request.path,
            query=dict(request.query),
            headers=dict(request.headers),
            body=json.loads(text) if text else None,
        )
        self.asked.append(asked)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            return await answer(request)
        finally:
            self.at_once -= 1

    def write_kubeconfig(self, token: str) -> None:
        cluster = {"server": f"http://127.0.0.1:{self.port}"}
        config = {
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        self.kubeconfig.write_text(yaml.safe_dump(config), encoding="utf-8")


def says(status: int = 200, body: Any = None, **headers: str) -> Answer:
    async def answer(_request: web.Request) -> web.Response:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.json_response(body if body is not None else {}, status=status, headers=names)

    return answer


def refuses(status: int, reason: str, message: str, **headers: str) -> Answer:
    return says(status, {"kind": "Status", "reason": reason, "message": message}, **headers)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    found = Server(kubeconfig=tmp_path / "kubeconfig")
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", found.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.port = runner.addresses[0][1]
    found.write_kubeconfig("first")
    yield found
    await runner.cleanup()


@pytest.fixture
async def api(server: Server) -> AsyncIterator[KubeApi]:
    async with KubeApi(kubeconfig=server.kubeconfig, timeout_s=0.3, max_writes=2) as api:
        yield api


async def test_each_request_is_what_the_api_server_expects(server: Server, api: KubeApi) -> None:
    server.answers = [says(body={"a": 1})]
    one = paths.deployment("shop", "email")
    assert await api.get(one) == {"a": 1}
    await api.create(paths.deployments("shop"), {"kind": "Deployment"})
    await api.apply(one, {"spec": {}})
    await api.merge_patch(one + "/scale", {"spec": {"replicas": 3}}, resource_version="7")
    await api.json_patch(one, [{"op": "remove", "path": "/spec/x"}])
    await api.delete(one, uid="u-1", propagation="Orphan")
    sent = [(asked.method, asked.headers["Content-Type"], asked.query) for asked in server.asked]
    owner = {"fieldManager": "workerpool-operator"}
    assert sent == [
        ("GET", "application/json", {}),
        ("POST", "application/json", {}),
        ("PATCH", "application/apply-patch+yaml", {**owner, "force": "true"}),
        ("PATCH", "application/merge-patch+json", owner),
        ("PATCH", "application/json-patch+json", owner),
        ("DELETE", "application/json", {}),
    ]
    assert server.asked[3].body == {"spec": {"replicas": 3}, "metadata": {"resourceVersion": "7"}}
    assert server.asked[5].body["preconditions"] == {"uid": "u-1"}
    assert all(asked.headers["Authorization"] == "Bearer first" for asked in server.asked)
    assert api.writes_total == {
        ("create", "deployments"): 1,
        ("patch", "deployments"): 2,
        ("patch", "deployments/scale"): 1,
        ("delete", "deployments"): 1,
    }


async def test_a_list_is_read_in_pages(server: Server, api: KubeApi) -> None:
    server.answers = [
        says(body={"metadata": {"continue": "more"}, "items": [{"n": 1}]}),
        says(body={"metadata": {}, "items": [{"n": 2}]}),
    ]
    assert await api.list(paths.pods(), label_selector="a=b") == [{"n": 1}, {"n": 2}]
    assert [asked.query.get("continue") for asked in server.asked] == [None, "more"]
    assert {asked.query["labelSelector"] for asked in server.asked} == {"a=b"}


async def test_a_list_whose_pages_expired_is_read_whole(server: Server, api: KubeApi) -> None:
    server.answers = [
        says(body={"metadata": {"continue": "more"}, "items": [{"n": 1}]}),
        refuses(410, "Expired", "too old"),
        says(body={"metadata": {}, "items": [{"n": 1}, {"n": 2}]}),
    ]
    assert await api.list(paths.pods("ns")) == [{"n": 1}, {"n": 2}]
    assert server.asked[2].query == {}


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (400, "BadRequest", Invalid),
        (403, "Forbidden", Forbidden),
        (404, "NotFound", NotFound),
        (409, "AlreadyExists", Conflict),
        (422, "Invalid", Invalid),
        (418, "Teapot", ApiError),
        (500, "InternalError", Unreachable),
        (503, "ServiceUnavailable", Unreachable),
        (429, "TooManyRequests", Unreachable),
    ],
)
async def test_refusals_are_of_their_class(
    server: Server, api: KubeApi, status: int, reason: str, kind: type[ApiError]
) -> None:
    server.answers = [refuses(status, reason, "no such luck")]
    with pytest.raises(ApiError, match="cannot get pods ns/x: no such luck") as caught:
        await api.get(paths.pod("ns", "x"))
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.reason) == (status, reason)
    assert len(server.asked) == 1


async def test_what_a_proxy_says_is_an_error_too(server: Server, api: KubeApi) -> None:
    async def gateway(_request: web.Request) -> web.Response:
        return web.Response(status=502, text="<h1>no</h1>")

    server.answers = [gateway]
    with pytest.raises(Unreachable, match="<h1>no</h1>"):
        await api.get(paths.pod("ns", "x"))


async def test_a_missing_right_names_verb_and_resource(server: Server, api: KubeApi) -> None:
    server.answers = [refuses(403, "Forbidden", 'User "u" cannot patch resource "deployments/scale" in API group')]
    with pytest.raises(Forbidden, match=r"grant .* 'patch' on 'deployments.apps/scale' in the namespace ns \(RBAC\)"):
        await api.merge_patch(paths.deployment_scale("ns", "x"), {})
    with pytest.raises(Forbidden, match=r"'list' on 'workerpools\.workerpool\.dev' in the whole cluster"):
        await api.list(paths.workerpools())


async def test_another_403_keeps_its_own_explanation(server: Server, api: KubeApi) -> None:
    server.answers = [refuses(403, "Forbidden", "exceeded quota: small")]
    with pytest.raises(Forbidden, match="quota") as caught:
        await api.create(paths.events("ns"), {})
    assert "RBAC" not in str(caught.value)


async def test_patience_is_kept_when_it_is_asked_for_and_has_an_end(server: Server, api: KubeApi) -> None:
    slow_down = refuses(429, "TooManyRequests", "slow down", Retry_After="0")
    server.answers = [slow_down, slow_down, says(body={"a": 1})]
    assert await api.create(paths.events("ns"), {}) == {"a": 1}
    assert api.writes_total == {("create", "events"): 3}
    server.answers = [slow_down]
    with pytest.raises(Unreachable):
        await api.get(paths.pod("ns", "x"))
    assert len(server.asked) == 3 + 4


async def test_a_token_that_ran_out_is_read_again_once(server: Server, api: KubeApi) -> None:
    server.write_kubeconfig("second")
    refused = refuses(401, "Unauthorized", "Unauthorized")
    server.answers = [refused, says()]
    await api.get(paths.pod("ns", "x"))
    assert [asked.headers["Authorization"] for asked in server.asked] == ["Bearer first", "Bearer second"]
    server.answers = [refused]
    with pytest.raises(Unauthorized, match="check the service account or kubeconfig"):
        await api.get(paths.pod("ns", "x"))
    assert len(server.asked) == 4


async def test_no_answer_in_time_and_no_server_at_all(server: Server, api: KubeApi) -> None:
    never = asyncio.Event()

    async def hang(_request: web.Request) -> web.Response:
        await never.wait()
        raise AssertionError

    server.answers = [hang]
    with pytest.raises(Unreachable, match=r"no answer within 0.3 s"):
        await api.get(paths.pod("ns", "x"))
    server.port = 1
    server.write_kubeconfig("first")
    async with KubeApi(kubeconfig=server.kubeconfig) as other:
        with pytest.raises(Unreachable, match="not reachable"):
            await other.get(paths.pod("ns", "x"))


async def test_writes_wait_for_their_turn_and_urgent_ones_do_not(server: Server, api: KubeApi) -> None:
    opened = asyncio.Event()

    async def wait(_request: web.Request) -> web.Response:
        await opened.wait()
        return web.json_response({})

    server.answers = [wait]
    writes = [asyncio.create_task(api.create(paths.events("ns"), {})) for _ in range(6)]
    async with asyncio.timeout(5):
        while server.at_once < 2:  # noqa: ASYNC110 - the server of the test has no event for it
            await asyncio.sleep(0.001)
        server.answers = [says()]
        await api.create(paths.leases("ns"), {}, urgent=True)
        assert server.at_once == 2
        opened.set()
        await asyncio.gather(*writes)
    assert server.most_at_once == 3


async def test_without_a_usable_kubeconfig_it_says_which(tmp_path: Path) -> None:
    for text in (None, "", "just: text", "[broken"):
        file = tmp_path / "config"
        if text is not None:
            file.write_text(text, encoding="utf-8")
        with pytest.raises(NotConfigured, match=str(file)):
            await KubeApi(kubeconfig=file).__aenter__()


async def test_in_a_pod_the_service_account_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.delenv("KUBERNETES_SERVICE_PORT", raising=False)
    with pytest.raises(NotConfigured, match="the pod's service account"):
        await KubeApi().__aenter__()


async def test_it_must_be_opened() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await KubeApi().get("/version")


@pytest.mark.parametrize(
    ("path", "text", "qualified"),
    [
        (paths.pod("ns", "x"), "pods ns/x", "pods"),
        (paths.deployment_scale("ns", "x"), "deployments/scale ns/x", "deployments.apps/scale"),
        (paths.workerpools(), "workerpools", "workerpools.workerpool.dev"),
        (paths.workerpool_status("ns", "x"), "workerpools/status ns/x", "workerpools.workerpool.dev/status"),
        (paths.namespace("ns"), "namespaces ns", "namespaces"),
        (
            paths.crd(),
            "customresourcedefinitions workerpools.workerpool.dev",
            "customresourcedefinitions.apiextensions.k8s.io",
        ),
        ("/version", "/version", "/version"),
    ],
)
def test_a_path_tells_what_it_is_about(path: str, text: str, qualified: str) -> None:
    target = Target.of(path)
    assert (str(target), target.resource_and_group) == (text, qualified)


def test_names_cannot_leave_their_place() -> None:
    assert paths.secret("ns", "../x?y") == "/api/v1/namespaces/ns/secrets/..%2Fx%3Fy"
