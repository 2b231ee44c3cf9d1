"""The cluster is asked through the API server's proxy: a stand-in for that server, real pages behind it, real HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.support.control_plane.kubeconfig import write_kubeconfig
from tests.unit.report.records import EMAIL, make_record
from workerpool_operator.core.decision import Reason
from workerpool_operator.explain.ask import Wanted
from workerpool_operator.explain.cluster import LABELS, ClusterOptions, ask_cluster, default_namespace
from workerpool_operator.explain.errors import ExplainError, Forbidden, NoSuchPool
from workerpool_operator.ports import PoolKey
from workerpool_operator.report.last import ExplainPages, LastDecisions

Json = dict[str, Any]
EMAIL_WANTED = Wanted(name="email", namespace="default")


class Pod:
    """An operator's pod; ``leads`` may be changed."""

    def __init__(self, name: str, *, namespace: str = "shop", leads: bool = True, port: int = 8080) -> None:
        self.name, self.namespace, self.leads, self.leader, self.port = name, namespace, leads, "", port
        self.phase = "Running"
        self.decisions = LastDecisions()
        self.app = web.Application()
        ExplainPages(
            self.decisions, decided_by=f"{name}_1_ab", leads=lambda: self.leads, leader=lambda: self.leader
        ).add_to(self.app)

    def body(self) -> Json:
        ports = [{"containerPort": 15090, "name": "proxy"}, {"containerPort": self.port, "name": "metrics"}]
        return {
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": {"containers": [{"name": "sidecar"}, {"name": "operator", "ports": ports}]},
            "status": {"phase": self.phase},
        }


class ApiServer:
    """As much of an API server as is asked: pods by label, their proxies, WorkerPools; refusals on demand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pods: list[Pod] = []
        self.pools: dict[str, Json] = {}
        self.forbidden: set[str] = set()
        self.unreachable: set[str] = set()
        self.asked: list[str] = []
        self.kubeconfig = folder / "kubeconfig"

    async def start(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        write_kubeconfig(self.kubeconfig, url=url, ca_file=None, token="t", namespace="default")
        return runner

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        self.asked.append(path)
        if any(path.startswith(one) for one in self.forbidden):
            return _status(403, f'User "eve" cannot get {path}')
        if path.endswith("/pods"):
            assert request.query["labelSelector"] == LABELS
            parts = path.split("/")
            namespace = parts[4] if parts[3] == "namespaces" else None
            items = [pod.body() for pod in self.pods if namespace in (None, pod.namespace)]
            return web.json_response({"items": items})
        if "/workerpools/" in path:
            name = path.rpartition("/")[2]
            return web.json_response(self.pools[name]) if name in self.pools else _status(404, "not found")
        return await self._proxy(request, path)

    async def _proxy(self, request: web.Request, path: str) -> web.StreamResponse:
        for pod in self.pods:
            begin = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}:{pod.port}/proxy"
            if path.startswith(begin):
                if pod.name in self.unreachable:
                    return _status(503, "error trying to reach service: dial tcp 10.0.0.1:8080: i/o timeout")
                inner = request.clone(rel_url=path.removeprefix(begin))
                match = await pod.app.router.resolve(inner)
                if match.http_exception is not None:
                    return web.Response(status=404, text="404: Not Found")
                request.match_info.update(match)
                return await match.handler(request)
        return _status(404, "pods not found")


def _status(code: int, message: str) -> web.Response:
    return web.json_response({"kind": "Status", "code": code, "message": message}, status=code)


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ApiServer]:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    found = ApiServer(tmp_path)
    runner = await found.start()
    yield found
    await runner.cleanup()


def options(server: ApiServer, **others: Any) -> ClusterOptions:
    return ClusterOptions(kubeconfig=server.kubeconfig, **others)


async def test_the_pod_that_leads_answers_whichever_comes_first(server: ApiServer) -> None:
    standby, leader = Pod("operator-a", leads=False), Pod("operator-b", port=9000)
    standby.decisions.record(make_record(ready=1))
    leader.decisions.record(make_record(ready=38, target=4, reason=Reason.WORK_WAITING))
    server.pods = [standby, leader]
    told, by = await ask_cluster(options(server), EMAIL_WANTED)
    assert (told["decidedBy"], told["totals"]["ready"]) == ("operator-b_1_ab", 38)
    assert by == "the operator operator-b in namespace shop"


async def test_pods_that_end_or_have_not_begun_are_not_asked(server: ApiServer) -> None:
    old, leader = Pod("operator-old"), Pod("operator-new")
    old.phase = "Failed"
    for pod in (old, leader):
        pod.decisions.record(make_record())
    server.pods = [old, leader]
    assert (await ask_cluster(options(server), EMAIL_WANTED))[0]["decidedBy"] == "operator-new_1_ab"


async def test_of_two_operators_the_one_that_serves_the_pool_answers(server: ApiServer) -> None:
    ours, theirs = Pod("ours"), Pod("theirs", namespace="other")
    theirs.decisions.record(make_record())
    server.pods = [ours, theirs]
    assert (await ask_cluster(options(server), EMAIL_WANTED))[0]["decidedBy"] == "theirs_1_ab"
    with pytest.raises(ExplainError, match="there is no WorkerPool email in namespace default; the operator knows of"):
        await ask_cluster(options(server, operator_namespace="shop"), EMAIL_WANTED)


async def test_the_namespace_is_that_of_the_context(server: ApiServer) -> None:
    config = json.loads(server.kubeconfig.read_text())
    config["contexts"].append({"name": "other", "context": {"cluster": "tests", "user": "tests", "namespace": "mail"}})
    server.kubeconfig.write_text(json.dumps(config))
    assert default_namespace(options(server)) == "default"
    assert default_namespace(options(server, context="other")) == "mail"
    pod = Pod("operator")
    pod.decisions.record(make_record(key=PoolKey(namespace="mail", name="email")))
    server.pods = [pod]
    told, _ = await ask_cluster(options(server, context="other"), Wanted(name="email"))
    assert told["pool"] == {"namespace": "mail", "name": "email"}


async def test_a_name_that_is_wrong_is_answered_with_those_that_are_right(server: ApiServer) -> None:
    pod = Pod("operator")
    pod.decisions.record(make_record(key=EMAIL))
    server.pods = [pod]
    with pytest.raises(NoSuchPool, match=r"there is no WorkerPool emial in namespace default; there are email$"):
        await ask_cluster(options(server), Wanted(name="emial", namespace="default"))


async def test_a_pool_that_was_never_decided_is_explained_by_its_status(server: ApiServer) -> None:
    server.pods = [Pod("operator")]
    server.pools["email"] = {}
    with pytest.raises(NoSuchPool, match="no operator has written its status: does one serve it"):
        await ask_cluster(options(server), EMAIL_WANTED)
    ready = {"type": "Ready", "status": "False", "reason": "SecretMissing", "message": "there is no secret redis"}
    server.pools["email"] = {"status": {"conditions": [ready]}}
    with pytest.raises(NoSuchPool, match=r"Ready is False, SecretMissing: there is no secret redis$"):
        await ask_cluster(options(server), EMAIL_WANTED)


async def test_without_a_leader_it_says_so(server: ApiServer) -> None:
    first, second = Pod("operator-a", leads=False), Pod("operator-b", leads=False)
    server.pods = [first, second]
    with pytest.raises(ExplainError, match=r"nobody leads at this moment \(operator-a, operator-b stand by\)"):
        await ask_cluster(options(server), EMAIL_WANTED)
    first.leader = "laptop_77_cd"
    with pytest.raises(ExplainError, match="laptop_77_cd leads, and is none of the pods"):
        await ask_cluster(options(server), EMAIL_WANTED)


async def test_without_an_operator_it_says_what_was_looked_for(server: ApiServer) -> None:
    with pytest.raises(ExplainError, match=r"no operator runs in the cluster: no running pod has the labels app\."):
        await ask_cluster(options(server), EMAIL_WANTED)
    with pytest.raises(ExplainError, match="no operator runs in namespace shop"):
        await ask_cluster(options(server, operator_namespace="shop"), EMAIL_WANTED)


async def test_who_may_not_look_everywhere_looks_where_the_pool_is(server: ApiServer) -> None:
    pod = Pod("operator", namespace="default")
    pod.decisions.record(make_record())
    server.pods = [pod]
    server.forbidden = {"/api/v1/pods"}
    assert (await ask_cluster(options(server), EMAIL_WANTED))[0]["decidedBy"] == "operator_1_ab"
    server.forbidden = {"/api/v1"}
    with pytest.raises(Forbidden, match=r"you may not list pods in namespace default.*--operator-namespace.*--address"):
        await ask_cluster(options(server), EMAIL_WANTED)


async def test_who_may_not_use_the_proxy_is_told_the_right_and_the_way_out(server: ApiServer) -> None:
    server.pods = [Pod("operator", port=9000)]
    server.forbidden = {"/api/v1/namespaces/shop/pods/operator"}
    with pytest.raises(Forbidden) as caught:
        await ask_cluster(options(server), EMAIL_WANTED)
    text = str(caught.value)
    assert "`get` on `pods/proxy` in namespace shop" in text
    assert "kubectl -n shop port-forward operator 9000 and --address http://127.0.0.1:9000" in text
    assert "\n" not in text


async def test_a_pod_that_the_api_server_cannot_reach(server: ApiServer) -> None:
    server.pods = [Pod("operator")]
    server.unreachable = {"operator"}
    with pytest.raises(
        ExplainError, match=r"cannot reach the operator operator.*i/o timeout.*NetworkPolicy.*port-forw"
    ):
        await ask_cluster(options(server), EMAIL_WANTED)


async def test_an_operator_without_these_pages_is_of_another_version(server: ApiServer) -> None:
    pod = Pod("operator")
    pod.app = web.Application()
    server.pods = [pod]
    with pytest.raises(ExplainError, match="it is of another version than this command"):
        await ask_cluster(options(server), EMAIL_WANTED)


async def test_no_kubeconfig_and_no_server_are_one_line_each(server: ApiServer, tmp_path: Path) -> None:
    with pytest.raises(ExplainError, match=r"there is no kubeconfig .*/nowhere: name one"):
        await ask_cluster(ClusterOptions(kubeconfig=tmp_path / "nowhere"), EMAIL_WANTED)
    with pytest.raises(ExplainError, match="cannot tell how to reach the API server") as caught:
        await ask_cluster(options(server, context="nobody"), EMAIL_WANTED)
    assert "\n" not in str(caught.value)
    gone = write_kubeconfig(tmp_path / "gone", url="http://127.0.0.1:1", ca_file=None, token="t")
    with pytest.raises(ExplainError, match="the API server is not reachable"):
        await ask_cluster(ClusterOptions(kubeconfig=gone), EMAIL_WANTED)
