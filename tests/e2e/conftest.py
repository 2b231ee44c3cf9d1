"""One kind cluster for all end-to-end tests: images from the Dockerfiles, the chart with default values, the shop.

``KEEP=1`` leaves the cluster for the next run, which then takes seconds to begin. CI deletes it, whatever happened.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.pods.kubectl import Kubectl
from tests.support.pods.node import Node
from tests.support.pods.shop import Rush, Shop, reaching
from tests.support.pods.watcher import PodWatcher, watching
from tests.support.waiting import eventually
from tools.cluster import ALL_IMAGES, Cluster, build, needs, own_kubeconfig, shop

NAME = "workerpool-e2e"
PROGRAMS = ("docker", "kind", "kubectl", "helm")


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """The cluster with everything in it, its pools at zero."""
    needs.check(*PROGRAMS)
    keep = bool(os.environ.get("KEEP")) and not os.environ.get("CI")
    cluster = Cluster(NAME, kubeconfig=own_kubeconfig(NAME))
    say = request.config.get_terminal_writer().line
    try:
        for image in ALL_IMAGES:
            say(f"e2e: {image.tag} {'built' if build(image).was_built else 'is there'}")
        say(f"e2e: cluster {NAME} {'made' if cluster.ensure() else 'is there'}")
        tags = shop.load_images(cluster)
        shop.services(cluster)
        shop.chart(cluster)
        shop.renew(cluster, tags)
        shop.wait_for_rollouts(cluster)
        shop.pools(cluster)
        say("e2e: chart installed, shop's services and pools ready")
        yield cluster
    except BaseException:
        say(shop.trouble(cluster))
        raise
    finally:
        if not keep:
            cluster.delete()


@pytest.fixture(scope="session")
def kubectl(cluster: Cluster) -> Kubectl:
    assert cluster.kubeconfig is not None
    return Kubectl(kubeconfig=cluster.kubeconfig, namespace=shop.NAMESPACE)


@pytest.fixture(scope="session")
def node(cluster: Cluster) -> Iterator[Node]:
    """The only node; it keeps the logs of pods that are gone."""
    (name,) = cluster.nodes()
    node = Node(name=name)
    with node.keeping_logs():
        yield node


@pytest.fixture(scope="session")
def secrets(kubectl: Kubectl) -> Callable[[str, str], str]:
    """The value of a Secret's key."""

    def value(name: str, key: str) -> str:
        return base64.b64decode(kubectl.json("get", "secret", name)["data"][key]).decode()

    return value


@pytest.fixture
def store(kubectl: Kubectl, secrets: Callable[[str, str], str]) -> Iterator[Shop]:
    """The shop, reached from here."""
    with reaching(kubectl, secrets("shop", "DATABASE_URL")) as found:
        yield found


@pytest.fixture
def watcher(kubectl: Kubectl) -> Iterator[PodWatcher]:
    """What becomes of the pods from now on."""
    with watching(kubectl) as found:
        yield found


@pytest.fixture
def rush(request: pytest.FixtureRequest) -> Callable[..., Rush]:
    """A rush of a name of its own, also when the cluster is kept and the test runs again."""

    def make(orders: int, *, welcomes: int = 0, payments: int = 0) -> Rush:
        word = request.node.name.removeprefix("test_").replace("_", "-")[:24].strip("-")
        stamp = f"{os.getpid():x}{len(os.urandom(1)):d}{os.urandom(2).hex()}"
        return Rush(id=f"{word}-{stamp}", orders=orders, welcomes=welcomes, payments=payments)

    return make


@pytest.fixture
def output() -> Path:
    """Where figures and transcripts of a run go."""
    folder = Path(__file__).parents[2] / "e2e-output"
    folder.mkdir(exist_ok=True)
    return folder


def at_zero(kubectl: Kubectl, within_s: float = 150) -> None:
    """Wait until no pool has a pod; the samples wait 60 s before they shrink."""
    eventually(
        lambda: not kubectl.items("pods", "-l", "workerpool.dev/pool"), within_s, "every pool at zero", every_s=1
    )
