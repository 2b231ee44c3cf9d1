"""``python3 -m tools.cluster up|down|status|images``: what ``make kind-up`` and ``make kind-down`` run."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Final

from tools.cluster import needs, shop
from tools.cluster.errors import ClusterError, CommandError
from tools.cluster.images import ALL_IMAGES, build
from tools.cluster.kind import Cluster, own_kubeconfig
from tools.cluster.progress import step

_PROGRAMS: Final = ("docker", "kind", "kubectl", "helm")
_LAST_LINES: Final = 20


def up(cluster: Cluster) -> None:
    """Everything that is missing, or has changed: cluster, images, services, chart, pools."""
    begin_s = time.monotonic()
    with step("programs") as note:
        needs.check(*_PROGRAMS)
        note.text = ", ".join(_PROGRAMS)
    images(cluster)
    with step(f"cluster {cluster.name}") as note:
        note.text = "made" if cluster.ensure() else "is there"
    with step("images on the node") as note:
        tags = shop.load_images(cluster)
        note.text = str(len(tags))
    try:
        _install(cluster, tags)
    except CommandError:
        sys.stderr.write(f"\n{shop.trouble(cluster)}\n")
        raise
    print(f"\nReady in {time.monotonic() - begin_s:.0f} s.\n")
    status(cluster)
    _next(cluster)


def down(cluster: Cluster) -> None:
    """Delete this cluster and no other; the images stay in Docker, so that the next start is quick."""
    needs.check("docker", "kind")
    with step(f"cluster {cluster.name}") as note:
        note.text = "deleted" if cluster.delete() else "there was none"


def status(cluster: Cluster) -> None:
    """What is there."""
    needs.check("docker", "kind", "kubectl")
    cluster.require()
    kinds = "workerpools,deployments,statefulsets,cronjobs"
    print(cluster.kubectl("get", kinds, "--namespace", shop.NAMESPACE).rstrip())


def images(_: Cluster) -> None:
    """Build what has changed."""
    needs.check("docker")
    for image in ALL_IMAGES:
        with step(image.tag) as note:
            note.text = "built" if build(image).was_built else "unchanged"


def _install(cluster: Cluster, tags: list[str]) -> None:
    with step("PostgreSQL, mail sink, load templates") as note:
        shop.services(cluster)
        note.text = "applied"
    with step("chart") as note:
        shop.chart(cluster)
        note.text = "installed"
    with step("pods to be replaced") as note:
        note.text = ", ".join(shop.renew(cluster, tags)) or "none"
    with step("services, operator and Redis") as note:
        shop.wait_for_rollouts(cluster)
        note.text = "ready"
    with step(f"pools {', '.join(shop.SAMPLES)}") as note:
        shop.pools(cluster)
        note.text = "ready"


def _next(cluster: Cluster) -> None:
    kubectl = "kubectl"
    if cluster.kubeconfig:
        kubectl = f"kubectl --kubeconfig {cluster.kubeconfig}"
    elif _current_context() != cluster.context:
        kubectl = f"kubectl --context {cluster.context}"
    space = shop.NAMESPACE
    print("\nNext:")
    print(f"  {kubectl} -n {space} create job --from=cronjob/load rush-1     # 2,000 mixed jobs")
    print(f"  {kubectl} -n {space} get workerpools --watch                   # from none to many and back")
    print(f"  {kubectl} -n {space} port-forward service/mail 8025            # the mails: http://localhost:8025")


def _current_context() -> str:
    asked = ["kubectl", "config", "current-context"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()


_ACTIONS: Final[dict[str, Callable[[Cluster], None]]] = {"up": up, "down": down, "status": status, "images": images}


def main(arguments: list[str] | None = None) -> int:
    """Run one action; 0 if it was done, 1 with one line on standard error if not."""
    parser = argparse.ArgumentParser(prog="python3 -m tools.cluster", description=__doc__)
    parser.add_argument("action", choices=_ACTIONS, help="; ".join(f"{k}: {v.__doc__}" for k, v in _ACTIONS.items()))
    parser.add_argument("--name", default="workerpool", help="the kind cluster's name (default: workerpool)")
    parser.add_argument("--own-kubeconfig", action="store_true", help="leave the usual kubeconfig alone")
    given = parser.parse_args(arguments)
    cluster = Cluster(given.name, own_kubeconfig(given.name) if given.own_kubeconfig else None)
    try:
        _ACTIONS[given.action](cluster)
    except CommandError as error:
        said = error.said.rstrip().splitlines()
        sys.stderr.write("\n".join(["", *said[-_LAST_LINES:], f"workerpool: {error}", ""]))
        return 1
    except ClusterError as error:
        sys.stderr.write(f"workerpool: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nworkerpool: stopped. Run it again to go on where it was\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
