"""``workerpool local`` as a user runs it: a process of its own, watched through its decision log."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.support.waiting import eventually

SCRIPTS = Path(sys.executable).parent


@dataclass(kw_only=True)
class LocalRun:
    """A running ``workerpool local -f pools.yaml`` in a folder of its own."""

    folder: Path
    pools: str
    arguments: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        (self.folder / "pools.yaml").write_text(self.pools, encoding="utf-8")
        command = [str(SCRIPTS / "workerpool"), "local", "-f", "pools.yaml", "--log", "decisions.jsonl", "--plain"]
        with (self.folder / "out.txt").open("w") as out, (self.folder / "err.txt").open("w") as err:
            self.process = subprocess.Popen(
                [*command, *self.arguments],
                cwd=self.folder,
                env={**os.environ, **self.env},
                stdout=out,
                stderr=err,
                text=True,
            )
        return self

    def __exit__(self, *_exc: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    @property
    def out(self) -> str:
        return (self.folder / "out.txt").read_text()

    @property
    def err(self) -> str:
        return (self.folder / "err.txt").read_text()

    def decisions(self, pool: str | None = None) -> list[dict[str, Any]]:
        """Every decision so far, oldest first."""
        try:
            text = (self.folder / "decisions.jsonl").read_text()
        except FileNotFoundError:
            return []
        lines = [json.loads(line) for line in text.splitlines() if line.endswith("}")]
        return [line for line in lines if pool in (None, line["pool"])]

    def wait_decision(self, condition: Callable[[dict[str, Any]], object], *, within_s: float = 30, what: str) -> None:
        """Wait until some decision from now on meets a condition."""
        seen = len(self.decisions())
        eventually(lambda: any(condition(one) for one in self.decisions()[seen:]), within_s=within_s, what=what)

    def stop(self, within_s: float = 40) -> int:
        """Ctrl-C; returns the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(within_s)


def pool_yaml(
    name: str,
    *,
    url: str | None = None,
    worker: str = "{}",
    spec: str = "",
    scaling: str = "",
    queue: str | None = None,
) -> str:
    """A WorkerPool that polls quickly and shrinks soon; ``worker``, ``spec`` and ``scaling`` are YAML flow text."""
    broker = f"  broker: {{url: '{url}'}}\n" if url else ""
    extra = f"  {spec}\n" if spec else ""
    return (
        "apiVersion: workerpool.dev/v1alpha1\nkind: WorkerPool\n"
        f"metadata: {{name: {name}}}\nspec:\n  queues: [{{name: {queue or name}}}]\n{broker}{extra}"
        "  scaling: {backlogPerReplica: 2, pollIntervalMilliseconds: 250, "
        f"scaleDown: {{stabilizationSeconds: 2}}{', ' + scaling if scaling else ''}}}\n"
        f"  worker: {worker}\n---\n"
    )
