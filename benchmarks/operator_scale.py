"""What the operator costs and how fast it is with many pools, on a real API server of its own.

    make bench-operator ARGS="--pools 10 1000 --active 100 --seconds 60"

Brings up etcd, the API server and the Deployment controllers for each number of pools, starts `workerpool operator`
twice (all Deployments missing, then all there), lets it rest, then sends the active pools from zero to some size and
back at random moments. Reaction is the time from LPUSH to the change of the Deployment's size as a watch on this
machine sees it. Pods are made and stay pending, unless --nodes simulates nodes for them.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psutil

from tests.support.control_plane.api import path
from tests.support.control_plane.cluster import ControlPlane
from tests.support.control_plane.find import find_programs
from tests.support.control_plane.local import free_port
from tests.support.control_plane.nodes import ready_nodes, start_nodes
from tests.support.control_plane.plugin import local_control_plane, rbac_for
from tests.support.operator_load import SizeWatch, Waves
from tests.support.operator_process import OperatorProcess, worker_pool
from tests.support.waiting import eventually
from workerpool_operator.kube.crd import crd
from workerpool_operator.local.redis_server import RedisServer

NAMESPACE = "bench"
SCRAPE_S = 15.0
START_S = 300.0
Figures = dict[str, str]


@dataclass(kw_only=True)
class Bench:
    """One control plane, one Redis, so many pools."""

    plane: ControlPlane
    redis: RedisServer
    folder: Path
    kubeconfig: Path
    pools: list[str]
    figures: Figures = field(default_factory=dict)

    @contextmanager
    def operator(self, name: str) -> Iterator[Running]:
        """An operator process for as long as the context lasts."""
        port = free_port()
        arguments = ("--port", str(port))
        process = OperatorProcess(
            kubeconfig=self.kubeconfig, namespace=NAMESPACE, folder=self.folder, name=name, arguments=arguments
        )
        with process:
            yield Running(process=process, port=port, started_s=time.monotonic())


@dataclass(kw_only=True)
class Running:
    """An operator process, and what it says of itself."""

    process: OperatorProcess
    port: int
    started_s: float

    def samples(self) -> list[tuple[str, float]]:
        """Its metrics; none while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return []
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return [(name, float(value)) for name, _, value in pairs]

    def values(self, name: str) -> list[float]:
        """All samples of a metric."""
        return [value for sample, value in self.samples() if sample.partition("{")[0] == name]

    def writes(self) -> dict[str, float]:
        """Writes sent so far, by verb and resource."""
        prefix = "workerpool_api_writes_total{"
        return {name[len(prefix) : -1]: value for name, value in self.samples() if name.startswith(prefix)}

    def until_served(self, count: int) -> float:
        """Seconds from its start until every pool was looked at."""
        eventually(
            lambda: sum(self.values("workerpool_broker_up")) >= count, START_S, "all pools are served", every_s=0.25
        )
        return time.monotonic() - self.started_s

    def warnings(self) -> int:
        """Lines of its log that tell of trouble."""
        return self.process.log.read_text().count('"level": "warning"')

    def times_led(self) -> int:
        """How often it came to lead."""
        return self.process.log.read_text().count("leading as ")


@dataclass(kw_only=True)
class Window:
    """CPU, memory, writes and lag of an operator over some time."""

    running: Running
    lags_s: list[float] = field(default_factory=list)
    rss: int = 0

    def __enter__(self) -> Self:
        self._process = psutil.Process(self.running.process.pid)
        self._writes, self._begun_s, self._cpu_s = self.running.writes(), time.monotonic(), self._cpu()
        return self

    def look(self) -> None:
        """Scrape once, as Prometheus would."""
        self.lags_s += self.running.values("workerpool_loop_lag_seconds")
        self.rss = max(self.rss, self._process.memory_info().rss)

    def __exit__(self, *_exc: object) -> None:
        self.seconds = time.monotonic() - self._begun_s
        self.cpu_percent = 100 * (self._cpu() - self._cpu_s) / self.seconds
        self.look()
        after = self.running.writes()
        self.writes = {name: (after[name] - self._writes.get(name, 0)) / self.seconds for name in sorted(after)}

    def _cpu(self) -> float:
        times = self._process.cpu_times()
        return times.user + times.system

    def figures(self, label: str) -> Figures:
        """What it was like."""
        found = {
            f"CPU, % of a core, {label}": f"{self.cpu_percent:.1f}",
            f"memory (RSS), MB, {label}": f"{self.rss / 1e6:.0f}",
            f"loop lag, ms, p50 / p99, {label}": f"{_ms(self.lags_s, 50)} / {_ms(self.lags_s, 99)}",
        }
        found |= {f"writes/s {name}, {label}": f"{rate:.2f}" for name, rate in self.writes.items() if rate}
        return found | {f"writes/s in all, {label}": f"{sum(self.writes.values()):.2f}"}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description="What the operator costs with many pools.")
    parser.add_argument("--pools", type=int, nargs="+", default=[10, 1000])
    parser.add_argument("--active", type=int, default=100, help="pools that get jobs, at most")
    parser.add_argument("--seconds", type=float, default=60, help="of load; a third of it at rest before")
    parser.add_argument("--nodes", action="store_true", help="simulate nodes, so that pods become ready")
    parser.add_argument("--keep-log", type=Path, help="copy the operator's log there")
    options = parser.parse_args()
    columns = [
        measure(count, options.active, options.seconds, nodes=options.nodes, keep_log=options.keep_log)
        for count in options.pools
    ]
    print(f"| {os.cpu_count()} cores | " + " | ".join(f"{count} pools" for count in options.pools) + " |")
    print("|---|" + "--:|" * len(columns))
    for name in dict.fromkeys(name for column in columns for name in column):
        print(f"| {name} | " + " | ".join(column.get(name, "-") for column in columns) + " |")


def measure(count: int, active: int, seconds: float, *, nodes: bool, keep_log: Path | None) -> Figures:
    """All figures for so many pools."""
    with _bench(count, nodes=nodes) as bench:
        with bench.operator("first") as running:
            bench.figures["start, Deployments to be made, s"] = f"{running.until_served(count):.1f}"
            bench.figures["Deployments made"] = str(len(bench.plane.api.list(path("deployments", NAMESPACE))))
            bench.figures["times it came to lead"] = str(running.times_led())
        with bench.operator("second") as running:
            bench.figures["start, all there, s"] = f"{running.until_served(count):.1f}"
            _at_rest(bench, running, seconds / 3)
            _under_load(bench, running, min(active, count), seconds)
            bench.figures["times it came to lead"] += f" and {running.times_led()}"
            bench.figures["warnings in its log"] = str(running.warnings())
            if keep_log is not None:
                keep_log.write_bytes(running.process.log.read_bytes())
        return bench.figures


def _at_rest(bench: Bench, running: Running, seconds: float) -> None:
    time.sleep(5)  # what the start set off has ended
    with Window(running=running) as window:
        time.sleep(seconds)
    bench.figures |= window.figures("at rest")


def _under_load(bench: Bench, running: Running, active: int, seconds: float) -> None:
    waves = Waves(url=bench.redis.url, pools=random.Random(1).sample(bench.pools, active))
    with (
        SizeWatch(bench.plane.api, NAMESPACE) as watch,
        Window(running=running) as window,
        ThreadPoolExecutor(1) as thread,
    ):
        run = thread.submit(waves.run, seconds)
        while wait([run], timeout=SCRAPE_S).not_done:
            window.look()
        run.result()
    reactions = [wave.reaction_s(watch) for wave in waves.done]
    seen = [one for one in reactions if one is not None]
    bench.figures |= {
        "waves from zero": str(len(reactions)),
        "waves that were missed": str(reactions.count(None)),
        "changes of size a wave, most": str(max(wave.writes(watch) for wave in waves.done)),
        "LPUSH to replicas, ms, p50": _ms(seen, 50),
        "LPUSH to replicas, ms, p99": _ms(seen, 99),
        "LPUSH to replicas, ms, most": f"{1000 * max(seen):.0f}",
    }
    bench.figures |= window.figures(f"{active} active")


@contextmanager
def _bench(count: int, *, nodes: bool) -> Iterator[Bench]:
    programs = find_programs(print)
    with tempfile.TemporaryDirectory() as name, RedisServer(Path(name) / "redis", append_fsync="no") as server:
        folder = Path(name)
        with local_control_plane(programs, folder, [crd()]) as plane:
            plane.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
            for thing in rbac_for(NAMESPACE):
                plane.api.apply(thing)
            if nodes and plane.local is not None:
                start_nodes(plane.local)
                eventually(lambda: ready_nodes(plane.api), 30, "nodes are ready")
            pools = [f"pool-{number:04}" for number in range(count)]
            _create(plane, pools, server.url)
            kubeconfig = plane.kubeconfig_for("operator", namespace=NAMESPACE)
            yield Bench(plane=plane, redis=server, folder=folder, kubeconfig=kubeconfig, pools=pools)


def _create(plane: ControlPlane, pools: Sequence[str], url: str) -> None:
    scaling = {"pollIntervalMilliseconds": 1000, "scaleDown": {"stabilizationSeconds": 2}}
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda name: plane.api.create(worker_pool(name, NAMESPACE, url, scaling=scaling)), pools))


def _ms(seconds: Sequence[float], percent: int) -> str:
    if len(seconds) < 2:
        return "-"
    return f"{1000 * statistics.quantiles(seconds, n=100, method='inclusive')[percent - 1]:.0f}"


if __name__ == "__main__":
    main()
