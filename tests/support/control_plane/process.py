"""One program of the control plane as a child process that writes to a log file and ends with the tests."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

LAST_LINES = 15
STOP_S = 10


def ending_with_us(*command: str) -> list[str]:
    """The command, ended by the kernel when this process ends, however that ends; where util-linux is."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--", *command] if setpriv else [*command]


class Child:
    """A running program; ``log`` has what it said."""

    def __init__(self, program: Path, arguments: list[str], folder: Path) -> None:
        self.name = program.name
        self.log = folder / f"{self.name}.log"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ending_with_us(str(program), *arguments), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def check(self) -> None:
        """Fail with its last log lines when it has ended."""
        status = self._process.poll()
        if status is not None:
            lines = self.log.read_text(errors="replace").splitlines()[-LAST_LINES:]
            raise AssertionError("\n".join([f"{self.name} ended with status {status}; {self.log} ends:", *lines]))

    def stop(self) -> None:
        """End it; it has nothing to save, so it is not asked twice."""
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
