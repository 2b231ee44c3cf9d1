"""Asking the operator of a cluster, through the API server, so that nothing has to be opened.

The operator's pods are found by their labels, and each is asked: the one that leads answers. That needs no right to
read Leases, and finds every operator where several serve different namespaces.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

from kubernetes.aio.config.incluster_config import SERVICE_HOST_ENV_NAME
from kubernetes.aio.config.kube_config import list_kube_config_contexts

from workerpool_operator.explain.ask import TIMEOUT_S, Json, Reply, Wanted, ask
from workerpool_operator.explain.errors import ExplainError, Forbidden, NoSuchPool, Standby
from workerpool_operator.kube import api_paths as paths
from workerpool_operator.kube.api_config import Access
from workerpool_operator.kube.api_errors import ApiError
from workerpool_operator.kube.api_transport import Request, Transport
from workerpool_operator.report.humanise import one_line

LABELS = "app.kubernetes.io/component=operator,app.kubernetes.io/part-of=workerpool"
PORT_NAME, USUAL_PORT = "metrics", 8080
_contexts = cast("Callable[[str | None], tuple[list[Json], Json]]", list_kube_config_contexts)

NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_ANY_PAGE = "500"


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterOptions:
    """Which cluster, and where in it the operator runs; None: wherever it is found."""

    kubeconfig: Path | None = None
    context: str | None = None
    operator_namespace: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class OperatorPod:
    """A pod of an operator, and the port on which it tells of its decisions."""

    namespace: str
    name: str
    port: int

    def __str__(self) -> str:
        return f"the operator {self.name} in namespace {self.namespace}"


async def ask_cluster(options: ClusterOptions, wanted: Wanted) -> tuple[Json, str]:
    """The explanation of the pool's last decision, and who told it.

    Raises:
        NoSuchPool: There is no such pool, or no decision about it; the text says what the pool's status says.
        ExplainError: It cannot be asked.
    """
    _check_kubeconfig(options)
    wanted = Wanted(name=wanted.name, namespace=wanted.namespace or default_namespace(options))
    access = Access(kubeconfig=options.kubeconfig, context=options.context)
    transport = Transport(access, timeout_s=TIMEOUT_S, connections=4)
    try:
        await transport.open()
        try:
            return await Cluster(transport).explain(wanted, operator_namespace=options.operator_namespace)
        finally:
            await transport.close()
    except ApiError as error:
        raise ExplainError(one_line(error.message.removesuffix("; it is tried again"))) from error


def default_namespace(options: ClusterOptions) -> str:
    """Where kubectl would look: the namespace of the context, or of the pod this runs in."""
    try:
        if _in_a_pod(options):
            return NAMESPACE_FILE.read_text(encoding="utf-8").strip() or "default"
        contexts, active = _contexts(os.pathsep.join(map(str, _kubeconfigs(options))))
        if options.context is not None:
            active = next(context for context in contexts if context["name"] == options.context)
        return str(active["context"].get("namespace") or "default")
    except Exception:  # noqa: BLE001 - what is wrong with the file is said when it is used, by Access
        return "default"


def _check_kubeconfig(options: ClusterOptions) -> None:
    files = _kubeconfigs(options)
    if not _in_a_pod(options) and not any(file.is_file() for file in files):
        names = " and ".join(map(str, files))
        raise ExplainError(f"there is no kubeconfig {names}: name one with --kubeconfig, or ask a port with --address")


def _in_a_pod(options: ClusterOptions) -> bool:
    return options.kubeconfig is None and options.context is None and bool(os.environ.get(SERVICE_HOST_ENV_NAME))


def _kubeconfigs(options: ClusterOptions) -> list[Path]:
    """The files that kubectl would read."""
    if options.kubeconfig is not None:
        return [options.kubeconfig]
    named = [Path(part) for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    return named or [Path("~/.kube/config").expanduser()]


class Cluster:
    """What is asked of one API server."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def explain(self, wanted: Wanted, *, operator_namespace: str | None) -> tuple[Json, str]:
        """Ask every operator that is found until one knows the pool."""
        pods = await self._operators(operator_namespace, wanted.namespace or "default")
        failures: list[ExplainError] = []
        for pod in pods:
            try:
                return await ask(_ThroughProxy(self, pod), wanted), str(pod)
            except ExplainError as error:
                failures.append(error)
        unknown = [failure for failure in failures if isinstance(failure, NoSuchPool)]
        others = [failure for failure in failures if not isinstance(failure, NoSuchPool | Standby)]
        if unknown:
            also = f"; and another could not be asked: {others[0]}" if others else ""
            raise NoSuchPool(await self._why_unknown(wanted, unknown[0]) + also, known=unknown[0].known)
        if others:
            raise others[0]
        raise ExplainError(_nobody_leads(pods, [failure for failure in failures if isinstance(failure, Standby)]))

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Reply:
        """One request to the API server."""
        answer = await self._transport.send(Request(method="GET", verb="get", path=path, query=query or {}))
        if answer.status == HTTPStatus.UNAUTHORIZED:
            raise ExplainError("the API server refuses the credentials of the kubeconfig: log in again")
        return Reply(status=answer.status, body=answer.body)

    async def _operators(self, named: str | None, pools: str) -> list[OperatorPod]:
        """The operator's pods: in the namespace that was named, else in the whole cluster as far as may be seen."""
        reply = await self._list_pods(named)
        if reply.status == HTTPStatus.FORBIDDEN and named is None:
            named = pools
            reply = await self._list_pods(named)
        where = f"in namespace {named}" if named else "in the cluster"
        if reply.status == HTTPStatus.FORBIDDEN:
            what = f"you may not list pods {where}, where the operator's were looked for"
            raise Forbidden(f"{what}: name the right --operator-namespace, or have a port of it and use --address")
        if reply.status != HTTPStatus.OK:
            raise ExplainError(f"cannot list the operator's pods {where}: {status_message(reply)}")
        pods = [_operator_pod(item) for item in json.loads(reply.body)["items"] if _runs(item)]
        if not pods:
            what = f"no operator runs {where}: no running pod has the labels {LABELS}"
            raise ExplainError(f"{what}; name its --operator-namespace, or have a port of it and use --address")
        return pods

    async def _list_pods(self, namespace: str | None) -> Reply:
        return await self.get(paths.pods(namespace), {"labelSelector": LABELS, "limit": _ANY_PAGE})

    async def _why_unknown(self, wanted: Wanted, unknown: NoSuchPool) -> str:
        """Why the operator knows nothing of a pool, from what the API server has of it."""
        namespace = wanted.namespace or "default"
        reply = await self.get(paths.workerpool(namespace, wanted.name))
        if reply.status == HTTPStatus.NOT_FOUND:
            names = [name.partition("/")[2] for name in unknown.known]
            those = f"there are {', '.join(names)}" if names else "the operator knows of none there"
            return f"there is no WorkerPool {wanted.name} in namespace {namespace}; {those}"
        if reply.status != HTTPStatus.OK:
            return str(unknown)
        status = json.loads(reply.body).get("status") or {}
        ready = next((one for one in status.get("conditions") or () if one.get("type") == "Ready"), None)
        if ready is None:
            return f"nothing was decided about {wanted} yet, and no operator has written its status: does one serve it?"
        said = f"Ready is {ready.get('status')}, {ready.get('reason')}: {ready.get('message')}"
        return one_line(f"nothing was decided about {wanted}: {said}")


@dataclass(frozen=True, kw_only=False, slots=True)
class _ThroughProxy:
    """A pod, by way of the API server's proxy."""

    cluster: Cluster
    pod: OperatorPod

    @property
    def where(self) -> str:
        return str(self.pod)

    async def get(self, path: str) -> Reply:
        pod = self.pod
        reply = await self.cluster.get(f"{paths.pod(pod.namespace, f'{pod.name}:{pod.port}')}/proxy{path}")
        if reply.told is not None:
            return reply
        forward = f"kubectl -n {pod.namespace} port-forward {pod.name} {pod.port}"
        way_out = f"or: {forward} and --address http://127.0.0.1:{pod.port}"
        if reply.status == HTTPStatus.FORBIDDEN:
            right = f"`get` on `pods/proxy` in namespace {pod.namespace}, as the role edit has it"
            raise Forbidden(f"you may not ask {pod} through the API server: ask for {right}; {way_out}")
        if reply.status == HTTPStatus.NOT_FOUND and _status_of(reply) is None:
            raise ExplainError(f"{pod} knows no {path}: it is of another version than this command")
        said = status_message(reply)
        raise ExplainError(f"the API server cannot reach {pod}: {said}; does a NetworkPolicy forbid it? {way_out}")


def status_message(reply: Reply) -> str:
    """What the API server says of a request that it refused."""
    status = _status_of(reply)
    return one_line(str(status.get("message"))) if status else f"status {reply.status}, {reply.said or 'nothing said'}"


def _status_of(reply: Reply) -> dict[str, Any] | None:
    try:
        found = json.loads(reply.body)
    except ValueError:
        return None
    return found if isinstance(found, dict) and found.get("kind") == "Status" else None


def _runs(pod: Mapping[str, Any]) -> bool:
    return pod.get("status", {}).get("phase") == "Running" and not pod["metadata"].get("deletionTimestamp")


def _operator_pod(pod: Mapping[str, Any]) -> OperatorPod:
    ports = [port for container in pod["spec"]["containers"] for port in container.get("ports") or ()]
    port = next((one["containerPort"] for one in ports if one.get("name") == PORT_NAME), USUAL_PORT)
    return OperatorPod(namespace=pod["metadata"]["namespace"], name=pod["metadata"]["name"], port=int(port))


def _nobody_leads(pods: Sequence[OperatorPod], standbys: Sequence[Standby]) -> str:
    leader = next((one.leader for one in standbys if one.leader), "")
    names = ", ".join(pod.name for pod in pods)
    if leader:
        return f"{leader} leads, and is none of the pods that could be asked ({names}): ask it with --address"
    return f"nobody leads at this moment ({names} stand by); one takes over within 10 s"
