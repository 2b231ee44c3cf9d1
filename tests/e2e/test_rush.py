"""The product, whole: 2,000 mixed jobs from a pod; pools go from zero to work and back; every effect is there once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import at_zero
from tests.support.pods.connections import Connection, Network
from tests.support.pods.ends import disturbed
from tests.support.pods.kubectl import Kubectl
from tests.support.pods.node import Node
from tests.support.pods.shop import Rush, Shop, wanted
from tests.support.pods.timeline import timeline
from tests.support.pods.watcher import PodWatcher
from tests.support.waiting import eventually
from tools.cluster import shop

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

POOLS = ("email", "order", "payment")

EXPECTED = {
    ("operator", "redis"),
    ("operator", "API server"),
    ("worker email", "mail"),
    *((f"worker {pool}", service) for pool in POOLS for service in ("redis", "postgres")),
}
"""Who has to be seen talking to whom before it is worth asking whether all that was seen is allowed."""


def test_2000_jobs_from_zero_to_work_and_back(
    kubectl: Kubectl, node: Node, store: Shop, watcher: PodWatcher, rush: Callable[..., Rush], output: Path
) -> None:
    at_zero(kubectl)
    watcher.sizes.clear()  # of whatever a test before this one left behind
    sent = rush(450, welcomes=100, payments=50)
    assert sent.jobs == 2000
    store.send(sent)
    talk = _until_all_pools_work(kubectl, node)
    counted = store.until_done(sent, 300)
    assert counted.done == wanted(sent)
    assert counted.twice == {}
    at_zero(kubectl)
    assert store.count(sent) == counted, "something was done again while the pools went to zero"

    for pool in POOLS:
        most = max(watcher.sizes[pool])
        assert 1 < most <= kubectl.json("get", "workerpool", pool)["spec"]["maxReplicas"], watcher.sizes
        assert watcher.sizes[pool][-1] == 0
    workers: dict[str, list[str]] = {}
    for pool in POOLS:
        workers |= watcher.seen(node.kept_logs(shop.NAMESPACE, f"{pool}-"))
    harm = disturbed(workers, watcher)
    assert (harm.cut_off, harm.killed) == ((), ()), "a busy worker was stopped"
    operators = node.kept_logs(shop.NAMESPACE, "workerpool-operator-")
    lines = [timeline(pool, sent.id, workers=workers, operators=operators, watcher=watcher) for pool in POOLS]
    _write(output, {line.pool: line.steps() for line in lines}, talk)
    assert all(line.begun > line.sent for line in lines)
    assert {connection for connection, allowed in talk.items() if not allowed} == set()


def _until_all_pools_work(kubectl: Kubectl, node: Node) -> dict[Connection, bool]:
    """Look at the sockets until workers of every pool were seen at work; everything seen meanwhile."""
    talk: dict[Connection, bool] = {}

    def all_seen() -> bool:
        talk.update(Network.of(kubectl).connections(node))
        seen = {(one.origin, one.target) for one in talk}
        missing = EXPECTED - seen
        assert not missing, f"not seen yet: {sorted(missing)}"
        return True

    eventually(all_seen, 240, "every connection that should be there", every_s=0.5)
    return talk


def _write(output: Path, steps: dict[str, dict[str, float]], talk: dict[Connection, bool]) -> None:
    """Figures and connections of this run, for people and for the docs."""
    rows = [f"{'seconds from zero':24}" + "".join(f"{pool:>9}" for pool in steps)]
    rows += [f"{step:24}" + "".join(f"{steps[pool][step]:9.2f}" for pool in steps) for step in steps[POOLS[0]]]
    rows.append(f"{'first job sent to begun':24}" + "".join(f"{sum(steps[pool].values()):9.2f}" for pool in steps))
    rows += [
        "",
        "connections (from, to, port)",
        *(f"  {one.origin} -> {one.target}:{one.port}" for one in sorted(talk)),
    ]
    text = "\n".join(rows)
    (output / "rush.txt").write_text(text + "\n")
    (output / "rush.json").write_text(json.dumps(steps, indent=2) + "\n")
    print(text)  # noqa: T201 - with -s a person sees it
