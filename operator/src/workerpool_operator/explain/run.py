"""``workerpool explain``: choose whom to ask, ask, print."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import click

from workerpool_operator.explain.ask import Asker, Json, Wanted, ask, at_address, at_socket
from workerpool_operator.explain.cluster import ClusterOptions, ask_cluster
from workerpool_operator.explain.errors import ExplainError, NoSuchPool
from workerpool_operator.explain.logfile import from_log, moment_s
from workerpool_operator.local.explain_socket import live_sockets
from workerpool_operator.report.explain import SCHEMA_VERSION
from workerpool_operator.report.explain_text import Line, render
from workerpool_operator.report.humanise import one_line

USUAL_STATE_DIR = Path(".workerpool")
WIDEST = 120
OK, BROKEN_PIPE = 0, 1
_KINDS = ("wp", "workerpool", "workerpools", "workerpool.workerpool.dev", "workerpools.workerpool.dev")


@dataclass(frozen=True, kw_only=True, slots=True)
class ExplainArguments:
    """The command line of ``workerpool explain``. ``cluster_meant``: a cluster is asked, whatever runs locally."""

    pool: str
    namespace: str | None = None
    as_json: bool = False
    cluster: ClusterOptions = field(default=ClusterOptions())
    cluster_meant: bool = False
    address: str | None = None
    state_dir: Path | None = None
    log: Path | None = None
    at: str | None = None


def run_explain(arguments: ExplainArguments) -> int:
    """Print the explanation; returns the exit status: 0 well, 1 nothing is known of the pool, 2 it cannot be asked."""
    try:
        told, by = asyncio.run(_find(arguments))
        _show(told, by, as_json=arguments.as_json)
    except ExplainError as error:
        sys.stderr.write(f"workerpool: {one_line(str(error))}\n")
        return error.exit_status
    except KeyboardInterrupt:
        return ExplainError.exit_status
    except BrokenPipeError:
        sys.stderr.close()  # or else the interpreter complains at its end that nobody reads
        return BROKEN_PIPE
    return OK


async def _find(arguments: ExplainArguments) -> tuple[Json, str]:
    """The explanation, and who gave it."""
    wanted = Wanted(name=_pool_name(arguments.pool), namespace=arguments.namespace)
    if arguments.log is not None:
        at_s = _at_s(arguments.at)
        return from_log(arguments.log, wanted, at_s=at_s, now_s=time.time()), f"the log {arguments.log}"
    if arguments.address is not None:
        async with at_address(arguments.address) as asker:
            return await _asked(asker, wanted)
    if arguments.cluster_meant:
        return await ask_cluster(arguments.cluster, wanted)
    state_dir = arguments.state_dir or USUAL_STATE_DIR
    sockets = live_sockets(state_dir)
    if sockets:
        return await _local(sockets, state_dir, wanted)
    if arguments.state_dir is not None:
        raise ExplainError(f"no local run with the state folder {state_dir} is alive: start workerpool local")
    try:
        return await ask_cluster(arguments.cluster, wanted)
    except NoSuchPool:
        raise
    except ExplainError as error:
        raise ExplainError(f"no local run in {state_dir}, so the cluster was asked: {error}") from error


async def _asked(asker: Asker, wanted: Wanted) -> tuple[Json, str]:
    told = await ask(asker, wanted)
    who = told.get("decidedBy")
    return told, f"{who} at {asker.where}" if who else asker.where


async def _local(sockets: list[Path], state_dir: Path, wanted: Wanted) -> tuple[Json, str]:
    """Ask the runs of a state folder, the latest first, until one knows the pool."""
    unknown: NoSuchPool | None = None
    for path in sockets:
        where = f"the local run in {state_dir} (process {path.stem})"
        try:
            async with at_socket(path, where=where) as asker:
                return await ask(asker, wanted), where
        except NoSuchPool as error:
            unknown = unknown or error
    raise unknown or ExplainError(f"no local run with the state folder {state_dir} is alive")


def _pool_name(text: str) -> str:
    kind, slash, name = text.rpartition("/")
    if (slash and kind.lower() not in _KINDS) or not name:
        raise ExplainError(f"{text!r} is no pool: give its name, or wp/NAME")
    return name


def _at_s(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return moment_s(text, now=dt.datetime.now().astimezone())
    except (ValueError, OverflowError) as error:
        what = "a time looks like 17:59:03, 2026-11-22T17:59:03 or 1795370343"
        raise ExplainError(f"--at {text!r} is no time: {what}") from error


def _show(told: Json, by: str, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({**told, "toldBy": by}, indent=2))
        return
    if told["schemaVersion"] > SCHEMA_VERSION:
        raise ExplainError(f"{by} is newer than this command and cannot be shown as text: use -o json, or upgrade")
    columns = shutil.get_terminal_size(fallback=(80, 24)).columns
    try:
        lines = render(told, width=min(columns, WIDEST), asked=by)
    except (KeyError, TypeError) as error:
        raise ExplainError(f"{by} is of another version and cannot be shown as text: use -o json") from error
    encoding = sys.stdout.encoding or "ascii"
    for line in lines:
        # what a terminal has no characters for becomes a question mark
        click.echo(_styled(line).encode(encoding, "replace").decode(encoding))


def _styled(line: Line) -> str:
    """The line with the terminal's colours; click takes them away where there is no terminal."""
    return "".join(_styled_part(text, set(style.split())) for text, style in line)


def _styled_part(text: str, style: set[str]) -> str:
    colour = next(iter(sorted(style - {"bold", "dim"})), None)
    return click.style(text, fg=colour, bold="bold" in style or None, dim="dim" in style or None) if style else text
