"""Leadership among processes on a real API server: killed, paused and stopped leaders."""

from __future__ import annotations

import asyncio
import itertools
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.control_plane.cluster import ControlPlane
from tests.support.leases import check_lease_contract
from tests.support.waiting import eventually
from workerpool_operator.kube import api_paths
from workerpool_operator.kube.api import Json, KubeApi
from workerpool_operator.kube.lease import Leadership

pytestmark = pytest.mark.integration


@dataclass
class Candidate:
    """A process and what it said about leading."""

    process: subprocess.Popen[bytes]
    file: Path

    def answers(self) -> list[tuple[float, bool]]:
        if not self.file.exists():
            return []
        lines = self.file.read_text(encoding="ascii").splitlines(keepends=True)
        pairs = [line.split() for line in lines if line.endswith("\n")]
        return [(float(at_s), leads == "1") for at_s, leads in pairs]

    def leads(self) -> bool:
        answers = self.answers()
        return bool(answers) and answers[-1][1]

    def stretches(self) -> list[tuple[float, float]]:
        """From the first to the last yes of each run of yeses."""
        runs = itertools.groupby(self.answers(), key=lambda answer: answer[1])
        times = [[at_s for at_s, _ in run] for leads, run in runs if leads]
        return [(run[0], run[-1]) for run in times]


@dataclass
class Candidates:
    kubeconfig: Path
    namespace: str
    folder: Path
    all: list[Candidate] = field(default_factory=list)

    def start(self, identity: str) -> Candidate:
        file = self.folder / f"{identity}.txt"
        command = [sys.executable, "-m", "tests.support.lease_candidate"]
        arguments = [str(self.kubeconfig), self.namespace, identity, str(file)]
        candidate = Candidate(process=subprocess.Popen([*command, *arguments]), file=file)
        self.all.append(candidate)
        eventually(candidate.answers, 20, f"{identity} runs")
        return candidate

    def assert_never_two(self) -> None:
        stretches = sorted((*stretch, number) for number, one in enumerate(self.all) for stretch in one.stretches())
        for before, after in itertools.pairwise(stretches):
            assert before[1] < after[0], stretches


@pytest.fixture
def candidates(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Candidates]:
    # a lease that is there and free, as the chart brings one: no waiting for a leader that nobody knows of
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "workerpool-operator", "namespace": namespace},
    }
    control_plane.api.create(lease)
    found = Candidates(kubeconfig=control_plane.admin_kubeconfig, namespace=namespace, folder=tmp_path)
    yield found
    for candidate in found.all:
        candidate.process.kill()
        candidate.process.wait()


@pytest.fixture
def pair(candidates: Candidates) -> tuple[Candidate, Candidate]:
    """A leader and a standby."""
    leader = candidates.start("a")
    eventually(leader.leads, 5, "the first leads")
    return leader, candidates.start("b")


async def test_the_real_endpoint_keeps_the_contract(control_plane: ControlPlane, namespace: str) -> None:
    async with KubeApi(kubeconfig=control_plane.admin_kubeconfig) as api:
        await check_lease_contract(api, namespace)


def test_a_killed_leader_is_replaced_within_ten_seconds(
    candidates: Candidates, pair: tuple[Candidate, Candidate]
) -> None:
    leader, standby = pair
    leader.process.send_signal(signal.SIGKILL)
    leader.process.wait()
    killed_s = time.monotonic()
    eventually(standby.leads, 15, "the standby leads")
    assert standby.stretches()[0][0] - killed_s < 10.0
    candidates.assert_never_two()


def test_a_leader_that_stops_gracefully_is_replaced_at_once(
    candidates: Candidates, pair: tuple[Candidate, Candidate]
) -> None:
    leader, standby = pair
    stopped_s = time.monotonic()
    leader.process.send_signal(signal.SIGTERM)
    eventually(standby.leads, 10, "the standby leads")
    assert standby.stretches()[0][0] - stopped_s < 3.0
    assert leader.process.wait(10) == 0
    candidates.assert_never_two()


def test_a_leader_paused_for_20_s_is_replaced_and_never_leads_beside_its_successor(
    candidates: Candidates, pair: tuple[Candidate, Candidate]
) -> None:
    leader, standby = pair
    leader.process.send_signal(signal.SIGSTOP)
    paused_s = time.monotonic()
    eventually(standby.leads, 15, "the standby leads")
    assert standby.stretches()[0][0] - paused_s < 10.0
    eventually(lambda: time.monotonic() - paused_s > 20.0, 30, "20 s of pause")
    leader.process.send_signal(signal.SIGCONT)
    resumed_s = time.monotonic()
    eventually(lambda: leader.answers()[-1][0] > resumed_s + 3.0, 20, "it ran for 3 s after the pause")
    # the very first answer after the pause too: nothing else had run by then
    assert not any(leads for at_s, leads in leader.answers() if at_s > resumed_s)
    assert standby.leads()
    candidates.assert_never_two()


async def test_a_lease_that_is_missing_is_made_and_deleted_under_its_leader_made_again(
    control_plane: ControlPlane, namespace: str
) -> None:
    async with KubeApi(kubeconfig=control_plane.admin_kubeconfig) as api, asyncio.timeout(30):
        leadership = Leadership(
            api, namespace=namespace, identity="one", lease_duration_s=3, renew_every_s=0.2, renew_deadline_s=1
        )
        running = asyncio.create_task(leadership.run())
        await leadership.acquired()
        path = api_paths.lease(namespace, "workerpool-operator")
        first = await api.get(path)
        await api.delete(path, uid=first["metadata"]["uid"])
        leases = control_plane.api
        await asyncio.to_thread(eventually, lambda: _other(leases.find(path), first), 10, "the lease is made again")
        assert leadership.is_leader()
        await leadership.release()
        await running
        assert not (await api.get(path))["spec"].get("holderIdentity")


def _other(found: Json | None, than: Json) -> bool:
    return found is not None and bool(found["metadata"]["uid"] != than["metadata"]["uid"])
