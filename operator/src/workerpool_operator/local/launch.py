"""Starting one worker process."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from workerpool_operator.local.guardian import Guardian
from workerpool_operator.local.logs import open_log

REPLICA_VARIABLE = "WORKERPOOL_REPLICA"
"""The environment variable that tells a worker which replica it is, such as ``email-1``."""

_REFERENCE = re.compile(r"\$(\$?)\(([A-Za-z_][A-Za-z0-9_.-]*)\)")


class LaunchError(Exception):
    """A worker process could not be started; the text says what to do about it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LaunchPlan:
    """How a pool's worker processes are started.

    ``argv`` is the command with its arguments, in which ``$(NAME)`` stands for a variable, as Kubernetes has it; each
    replica's own name is ``$(WORKERPOOL_REPLICA)``. ``env`` is the whole environment: nothing is inherited. ``grace_s``
    is how long a replica may take to finish its job before it is killed. Output goes to ``log_dir``, and is shown as
    well when ``show_logs`` is set. ``concurrency`` is how many jobs one replica runs at a time. ``files`` are written
    before each start.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    log_dir: Path
    grace_s: float = 30.0
    show_logs: bool = False
    concurrency: int = 1
    files: tuple[tuple[Path, str], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Launched:
    """A started process. ``started_s`` is the monotonic time just before it; its log begins at ``log_begin_bytes``."""

    process: subprocess.Popen[bytes]
    started_s: float
    log_path: Path
    log_begin_bytes: int


def expand(argv: Sequence[str], env: Mapping[str, str]) -> list[str]:
    """Replace ``$(NAME)`` as Kubernetes does: unknown names are left as they are, ``$$(NAME)`` gives ``$(NAME)``."""

    def value(match: re.Match[str]) -> str:
        escaped, name = match.groups()
        return match[0][1:] if escaped else env.get(name, match[0])

    return [_REFERENCE.sub(value, argument) for argument in argv]


def launch(plan: LaunchPlan, *, name: str, guardian: Guardian) -> Launched:
    """Start a worker process in a session of its own, under guard. Blocks for some milliseconds.

    Its session keeps Ctrl-C in the terminal away from it: local mode decides how it stops.

    Args:
        plan: How.
        name: The replica's name; also that of its log file.
        guardian: Who ends it if local mode dies.

    Raises:
        LaunchError: It could not be started.
    """
    env = {**plan.env, REPLICA_VARIABLE: name}
    argv = expand(plan.argv, env)
    if not argv or not argv[0]:
        raise LaunchError("its command is empty: set spec.worker.command")
    path = plan.log_dir / f"{name}.log"
    try:
        log = open_log(path)
    except OSError as error:
        raise LaunchError(f"cannot write its log {path}: {error.strerror}") from error
    try:
        for file, content in plan.files:
            file.write_text(content)
        guardian.start()
        begin = os.fstat(log).st_size
        started_s = time.monotonic()
        process = subprocess.Popen(
            argv, env=env, cwd=plan.cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        # At once and in this thread: until the guardian knows of it, the death of local mode would leave it behind.
        guardian.watch(process.pid, grace_s=plan.grace_s)
    except (OSError, ValueError) as error:
        raise LaunchError(_explain(error, argv, plan.cwd)) from error
    finally:
        os.close(log)
    return Launched(process=process, started_s=started_s, log_path=path, log_begin_bytes=begin)


def _explain(error: OSError | ValueError, argv: Sequence[str], cwd: Path) -> str:
    command = argv[0]
    if not cwd.is_dir():
        return f"the folder {cwd} it should run in does not exist"
    if isinstance(error, FileNotFoundError):
        if (cwd / command).is_file():
            return f"the interpreter that the first line of {command} names does not exist"
        return f"the command {command} was not found: install it, or correct spec.worker.command"
    if isinstance(error, PermissionError):
        return f"the command {command} may not be executed: chmod +x it, or correct spec.worker.command"
    return f"the command {command} could not be started: {getattr(error, 'strerror', None) or error}"
