"""Where the programs come from: what is at hand first, then what can be fetched, then what can be built."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from .at_hand import Assets, Cache, OnPath
from .build import GoBuild
from .download import Download
from .programs import NAMES, UNFINISHED, Programs, UnavailableError, cache_folder

Say = Callable[[str], None]


class Provider(Protocol):
    """One place that programs may come from."""

    name: str

    def find(self, names: Collection[str]) -> Mapping[str, Path]:
        """Those of the programs it has; raises UnavailableError with the reason when it can give none."""


class Search:
    """The programs found so far, and why others were not."""

    def __init__(self) -> None:
        self.found: dict[str, Path] = {}
        self.used: list[str] = []
        self.why: list[str] = []

    @property
    def missing(self) -> list[str]:
        """The programs still to be found."""
        return [name for name in NAMES if name not in self.found]

    def ask(self, providers: Collection[Provider]) -> None:
        """Ask one provider after the other until nothing is missing."""
        for provider in providers:
            if not self.missing:
                return
            try:
                more = provider.find(self.missing)
            except UnavailableError as error:
                self.why.append(f"{provider.name}: {error}")
                continue
            self.found.update(more)
            if more:
                self.used.append(f"{', '.join(more)} from {provider.name}")


def find_programs(say: Say) -> Programs:
    """Find every program, each at the first provider that has it; ``say`` is told what takes time.

    Raises:
        UnavailableError: Some are nowhere; the text says which, and what each provider said.
    """
    search = Search()
    search.ask([Assets(), OnPath(), Cache()])
    if search.missing:
        try:
            with _alone(cache_folder(), say):
                search.ask([Cache(), Download(say), GoBuild(say)])
        except OSError as error:
            search.why.append(f"cache folder: {error}")
    if search.missing:
        raise UnavailableError(f"no {', '.join(search.missing)} ({'; '.join(search.why)})")
    return Programs(paths=search.found, said="; ".join(search.used))


@contextmanager
def _alone(folder: Path, say: Say) -> Iterator[None]:
    """Keep other test runs of this user from fetching the same at the same time."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another test run is fetching the control plane's programs; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        for left_over in folder.glob(f"{UNFINISHED}*"):  # of a run that was killed
            shutil.rmtree(left_over, ignore_errors=True)
        yield
