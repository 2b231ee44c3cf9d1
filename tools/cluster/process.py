"""Runs the programs: docker, kind, kubectl, helm."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.cluster.errors import ClusterError, CommandError

QUICK_S = 120.0


def run(
    command: Sequence[str],
    *,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout_s: float = QUICK_S,
) -> str:
    """What the program wrote to standard output.

    ``env`` is added to this process's environment. Raises ``CommandError`` with all that the program said when it
    ends with an error or does not end in time, and ``ClusterError`` when it is not there.
    """
    try:
        done = subprocess.run(
            command,
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError as error:
        raise ClusterError(f"{command[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        said = "".join(_text(part) for part in (error.stdout, error.stderr))
        raise CommandError(command, None, said) from error
    if done.returncode != 0:
        raise CommandError(command, done.returncode, done.stdout + done.stderr)
    return done.stdout


def answers(command: Sequence[str], *, env: Mapping[str, str] | None = None, timeout_s: float = QUICK_S) -> bool:
    """Whether the program ends well; False for one that says no, or nothing in time."""
    try:
        run(command, env=env, timeout_s=timeout_s)
    except CommandError:
        return False
    return True


def _text(part: bytes | str | None) -> str:
    return part.decode(errors="replace") if isinstance(part, bytes) else (part or "")
