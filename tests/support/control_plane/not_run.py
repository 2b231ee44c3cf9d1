"""What happens where there is no control plane: its tests are not run, the last lines say so, and CI fails."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .external import VARIABLE, named_kubeconfig, trouble_with
from .find import find_programs
from .programs import NAMES, Programs, UnavailableError

FIXTURE = "control_plane"


@dataclass(frozen=True, kw_only=True)
class NotRun:
    """Tests that could not be run, and why."""

    count: int
    why: str

    def lines(self) -> list[str]:
        """What to tell."""
        remedy = (
            "Any one of these makes them run (docs/testing.md): install Go (https://go.dev/dl/); reach dl.k8s.io and "
            f"github.com; set KUBEBUILDER_ASSETS to a folder with {', '.join(NAMES)}; set {VARIABLE} to the "
            "kubeconfig of a cluster for tests."
        )
        return [f"NOT RUN: {self.count} tests need a Kubernetes control plane: {self.why}", remedy]


SOURCE = pytest.StashKey[Programs | Path]()
NOT_RUN = pytest.StashKey[NotRun]()
TOLD = "workerpool-not-run"
"""Under which the processes of ``pytest -n`` tell the first one."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Look for a control plane if a chosen test needs one; leave such tests out where there is none."""
    needing = [item for item in items if FIXTURE in getattr(item, "fixturenames", ())]
    if not needing or config.option.collectonly:
        return
    try:
        config.stash[SOURCE] = _source(config)
    except UnavailableError as error:
        config.stash[NOT_RUN] = NotRun(count=len(needing), why=str(error))
        config.hook.pytest_deselected(items=needing)
        left_out = set(needing)
        items[:] = [item for item in items if item not in left_out]


def _source(config: pytest.Config) -> Programs | Path:
    kubeconfig = named_kubeconfig()
    if kubeconfig is None:
        capture = config.pluginmanager.getplugin("capturemanager")
        if capture is None:
            return find_programs(_say)
        with capture.global_and_fixture_disabled():
            return find_programs(_say)
    # Somebody named it: to run against anything else would surprise them.
    why = trouble_with(kubeconfig)
    if why is not None:
        raise pytest.UsageError(f"{VARIABLE}={kubeconfig}: {why}")
    return kubeconfig


def _say(line: str) -> None:
    sys.stderr.write(f"control plane: {line}\n")
    sys.stderr.flush()


def pytest_report_collectionfinish(config: pytest.Config) -> Iterable[str]:
    """One line about where the control plane comes from."""
    source = config.stash.get(SOURCE, None)
    if source is None:
        return []
    return [f"control plane: {source.said if isinstance(source, Programs) else f'the cluster of ${VARIABLE}'}"]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> Generator[None, None, None]:
    """After everything else, what was not run."""
    yield
    not_run = config.stash.get(NOT_RUN, None)
    if not_run is not None:
        for line in not_run.lines():
            terminalreporter.write_line(line, red=True)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """With several processes only the first one has a terminal and an exit status, and it collects nothing itself."""
    told = getattr(node, "workeroutput", {}).get(TOLD)
    if told is not None:
        count, why = told
        node.config.stash[NOT_RUN] = NotRun(count=count, why=why)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Under CI, tests that were not run are a failure. One process of several (pytest -n) tells the first of them."""
    not_run = session.config.stash.get(NOT_RUN, None)
    if not_run is not None and hasattr(session.config, "workeroutput"):
        session.config.workeroutput[TOLD] = [not_run.count, not_run.why]
    if not_run is not None and os.environ.get("CI", "").lower() not in {"", "0", "false"}:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
