"""Which programs are called for a cluster, and above all: with which context."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.cluster.errors import ClusterError
from tools.cluster.kind import Cluster, own_kubeconfig

SERVER = "https://127.0.0.1:40001"
KIND = """
echo "kind $* [$KUBECONFIG]" >> {calls}
case "$1 $2" in
  "get clusters") echo "{clusters}" ;;
  "get kubeconfig") echo "    server: {server}" ;;
esac
"""
KUBECTL = """
echo "kubectl $* [$KUBECONFIG]" >> {calls}
case "$1 $2" in
  "config view") printf '%s' "{context_server}" ;;
esac
"""


class Programs:
    """kind, kubectl and docker that write down how they are called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "calls"

    def install(self, *, clusters: str, context_server: str = SERVER) -> None:
        kind = KIND.format(calls=self.log, clusters=clusters, server=SERVER)
        kubectl = KUBECTL.format(calls=self.log, context_server=context_server)
        docker = f'echo "docker $*" >> {self.log}\necho "mine-control-plane exited"'
        for name, script in {"kind": kind, "kubectl": kubectl, "docker": docker}.items():
            (self.folder / name).write_text(f"#!/bin/sh\n{script}\n")
            (self.folder / name).chmod(0o755)

    def calls(self) -> list[str]:
        return self.log.read_text().splitlines()


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("KIND_NODE_IMAGE", raising=False)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    return Programs(tmp_path)


def test_a_new_cluster_is_made_with_its_own_kubeconfig(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    programs.install(clusters="other")
    monkeypatch.setenv("KIND_NODE_IMAGE", "node:1")
    own = own_kubeconfig("mine")
    assert Cluster("mine", own).ensure(config=Path("kind.yaml"))
    made = [call for call in programs.calls() if "create" in call]
    assert made == [
        f"kind create cluster --name mine --config kind.yaml --wait 120s --image node:1 [{own}]",
    ]
    assert own.parent.is_dir()


def test_one_that_is_stopped_is_started_and_asked(programs: Programs) -> None:
    programs.install(clusters="mine")
    assert not Cluster("mine").ensure()
    calls = programs.calls()
    assert "docker start mine-control-plane" in calls
    assert calls[-1] == "kubectl --context kind-mine get --raw /readyz []"
    assert not any("export" in call or "create" in call for call in calls)


def test_a_context_that_points_elsewhere_is_never_talked_to(programs: Programs) -> None:
    programs.install(clusters="mine", context_server="https://production.example:6443")
    Cluster("mine").require()
    calls = programs.calls()
    assert calls[-1] == "kind export kubeconfig --name mine []"
    assert [call for call in calls if call.startswith("kubectl") and " config view" not in call] == []


def test_only_the_cluster_of_this_name_is_deleted(programs: Programs) -> None:
    programs.install(clusters="mine")
    own = own_kubeconfig("mine")
    own.parent.mkdir(parents=True)
    own.touch()
    assert Cluster("mine", own).delete()
    assert programs.calls()[-1] == f"kind delete cluster --name mine [{own}]"
    assert not own.exists()


def test_a_cluster_that_is_not_there_is_not_asked(programs: Programs) -> None:
    programs.install(clusters="other")
    with pytest.raises(ClusterError, match="there is no kind cluster mine"):
        Cluster("mine").require()
    assert programs.calls() == ["kind get clusters []"]
