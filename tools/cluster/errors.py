"""What can go wrong.

ClusterError        one line that says what to do
└── CommandError   a program ended with an error; keeps what it said
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_KNOWN: Final = (
    # What a program says (in lower case), and what a person is told instead. The first that is found counts.
    ("no space left on device", "the disk is full. `docker system prune` frees what Docker no longer needs"),
    ("port is already allocated", "a port is in use by another container. `docker ps` tells which"),
    ("address already in use", "a port is in use by another program"),
    ("permission denied while trying to connect to the docker", "this user may not talk to Docker"),
    ("cannot connect to the docker daemon", "Docker does not run. Start it"),
    ("is the docker daemon running", "Docker does not run. Start it"),
    ("node(s) already exist for a cluster", "another cluster of that name is being made. Wait for it, or delete it"),
    ("could not find a log line that matches", "the node did not start. `docker info` tells if its cgroups are usable"),
    ("certificate verify failed", "an authority is not trusted. Name its file in EXTRA_CA (docs/kind.md)"),
    ("invalid peer certificate", "an authority is not trusted. Name its file in EXTRA_CA (docs/kind.md)"),
)


class ClusterError(Exception):
    """One line for a person: what is wrong and what to do about it."""


class CommandError(ClusterError):
    """A program ended with an error."""

    def __init__(self, command: Sequence[str], status: int | None, said: str) -> None:
        """``status`` is None for a program that took too long; ``said`` is all that it wrote."""
        self.command = tuple(command)
        self.status = status
        self.said = said
        super().__init__(f"{_short(command)}: {explain(said) or _last_line(said, status)}")


def explain(said: str) -> str | None:
    """What a person is told of a known complaint; None if it is not known."""
    lower = said.lower()
    return next((advice for complaint, advice in _KNOWN if complaint in lower), None)


def _last_line(said: str, status: int | None) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    named = [line for line in lines if line.lower().startswith(("error", "failed"))]
    if status is None:
        return f"took too long ({lines[-1]})" if lines else "took too long"
    return (named or lines or [f"ended with status {status}"])[-1]


def _short(command: Sequence[str]) -> str:
    words = [word for word in command if not word.startswith(("-", "{"))]
    return " ".join(words[:3])
