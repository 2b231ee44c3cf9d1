"""The fixtures of the tests that need Kubernetes; what happens where there is none is in ``not_run``."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import urllib3
import yaml

from tests.support.waiting import eventually

from .api import Api, Object, collection_of, path
from .cluster import ControlPlane, is_established
from .external import external_control_plane
from .local import LocalControlPlane
from .nodes import ready_nodes, start_nodes
from .not_run import SOURCE
from .programs import Programs

RBAC = Path(__file__).resolve().parents[3] / "manifests" / "rbac.yaml"


@pytest.fixture(scope="session")
def custom_resources() -> list[Object]:
    """CustomResourceDefinitions to be served from the start; a conftest says which.

    From the start, because the garbage collector looks for new kinds only every 30 s.
    """
    return []


@pytest.fixture(scope="session")
def control_plane(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, custom_resources: list[Object]
) -> Iterator[ControlPlane]:
    """A real API server with the controllers around it, one a session."""
    source = request.config.stash[SOURCE]
    folder = tmp_path_factory.mktemp("control-plane")
    if isinstance(source, Path):
        with external_control_plane(source, folder) as plane:
            install(plane.api, custom_resources)
            yield plane
    else:
        with local_control_plane(source, folder, custom_resources) as plane:
            yield plane


@contextmanager
def local_control_plane(programs: Programs, folder: Path, definitions: list[Object]) -> Iterator[ControlPlane]:
    """Our own processes, for as long as the context lasts."""
    local = LocalControlPlane(programs, folder)
    try:
        local.start_server()
        with Api(local.admin_kubeconfig) as api:
            install(api, definitions)
            local.start_controllers()
            yield ControlPlane(
                api=api,
                folder=folder,
                ca_file=local.ca_file,
                kubectl=programs["kubectl"],
                said=programs.said,
                local=local,
            )
    finally:
        local.close()


@pytest.fixture(scope="session")
def simulated_nodes(control_plane: ControlPlane) -> list[str]:
    """The names of nodes on which pods become ready; ask for it wherever pods matter.

    A cluster that is not ours has nodes of its own.
    """
    if control_plane.local is not None:
        start_nodes(control_plane.local)

    def ready() -> list[str]:
        control_plane.check()
        return ready_nodes(control_plane.api)

    return eventually(ready, 30, "nodes are ready")


@pytest.fixture
def api(control_plane: ControlPlane) -> Iterator[Api]:
    """The API as the administrator; the test fails by name if a process of the control plane has ended."""
    control_plane.check()
    yield control_plane.api
    control_plane.check()


@pytest.fixture
def namespace(api: Api) -> Iterator[str]:
    """A namespace of the test's own; its deletion is begun at the end, not waited for."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    # The API server refuses pods until the controllers have made the account they run as.
    eventually(lambda: api.find(path("serviceaccounts", name, "default")), 20, "the default service account")
    yield name
    with suppress(urllib3.exceptions.HTTPError):  # a test may have taken the server down
        api.delete(path("namespaces", name=name))


@pytest.fixture
def operator_kubeconfig(control_plane: ControlPlane, namespace: str) -> Iterator[Path]:
    """The operator's service account in the test's namespace, which may do what manifests/rbac.yaml says, no more."""
    things = rbac_for(namespace)
    for thing in things:
        control_plane.api.apply(thing)
    yield control_plane.kubeconfig_for("operator", namespace=namespace)
    for thing in things:
        if thing["kind"] == "ClusterRoleBinding":
            control_plane.api.delete(f"{collection_of(thing)}/{thing['metadata']['name']}")


def rbac_for(namespace: str) -> list[Object]:
    """manifests/rbac.yaml for an operator that lives in a namespace; its cluster-wide binding is named after it."""
    text = RBAC.read_text(encoding="utf-8").replace("namespace: workerpool-system", f"namespace: {namespace}")
    things: list[Object] = list(yaml.safe_load_all(text))
    for thing in things:
        if thing["kind"] == "ClusterRoleBinding":
            thing["metadata"]["name"] += f"-{namespace}"
    return things


def install(api: Api, definitions: list[Object]) -> None:
    """Apply CustomResourceDefinitions and wait until they are served."""
    for definition in definitions:
        name = definition["metadata"]["name"]
        api.apply(definition)
        where = path("customresourcedefinitions", name=name)
        eventually(lambda where=where: is_established(api.get(where)), 30, f"{name} is served")  # type: ignore[misc]
