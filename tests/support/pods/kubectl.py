"""kubectl, as a user has it: every call goes through the command, and what it warns of is kept."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FORWARDED = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+)")


class KubectlError(AssertionError):
    """kubectl ended with a status other than 0; the text is what it said."""


@dataclass(kw_only=True)
class Kubectl:
    """kubectl for one cluster and namespace."""

    kubeconfig: Path
    namespace: str
    warnings: list[str] = field(default_factory=list)
    """Lines that began with "Warning:": what a user would have seen, such as a violated Pod Security profile."""

    def run(self, *arguments: str, given: str | None = None, timeout_s: float = 180) -> str:
        """What the command printed.

        Raises:
            KubectlError: It failed.
        """
        command = [*self.command, *arguments]
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=timeout_s, check=False)
        self.warnings += [line for line in done.stderr.splitlines() if line.startswith("Warning:")]
        if done.returncode != 0:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def json(self, *arguments: str) -> Any:
        """What the command printed with ``-o json``."""
        return json.loads(self.run(*arguments, "-o", "json"))

    def items(self, kind: str, *arguments: str) -> list[dict[str, Any]]:
        """All objects of a kind that the arguments select."""
        found: list[dict[str, Any]] = self.json("get", kind, *arguments)["items"]
        return found

    def apply(self, document: dict[str, Any] | str) -> None:
        """Apply a document."""
        text = document if isinstance(document, str) else json.dumps(document)
        self.run("apply", "-f", "-", given=text)

    @property
    def command(self) -> list[str]:
        return ["kubectl", "--kubeconfig", str(self.kubeconfig), "--namespace", self.namespace]

    @contextmanager
    def forwarded(self, target: str, port: int) -> Iterator[int]:
        """A port of this machine that leads to a port of a Service or Pod, while the block runs."""
        command = [*self.command, "port-forward", target, f":{port}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            try:
                assert process.stdout is not None
                first = process.stdout.readline()
                match = FORWARDED.search(first)
                assert match, f"port-forward {target}: {first or 'nothing was said'}"
                yield int(match[1])
            finally:
                process.terminate()
                process.stdout.close()  # type: ignore[union-attr]
