"""The options of ``workerpool explain``. What they do is in ``run.py``, imported when it is asked for."""

from __future__ import annotations

import sys
from pathlib import Path

import click

KUBECTL = "kubectl workerpool"
"""What the program is called as a plugin of kubectl: a cluster is meant then, not a local run."""


@click.command()
@click.argument("pool", metavar="[wp/]POOL")
@click.option(
    "-n", "--namespace", metavar="NAME", help="The pool's namespace. [default: the context's; locally the only one]"
)
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--context", metavar="NAME", help="Ask a cluster: one of the kubeconfig's contexts.")
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Ask a cluster: how to reach it.",
)
@click.option(
    "--operator-namespace", metavar="NAME", help="Ask a cluster: where the operator runs. [default: it is looked for]"
)
@click.option("--address", metavar="URL", help="Ask this port of an operator, or the page of a local run.")
@click.option(
    "--state-dir", type=click.Path(path_type=Path), metavar="FOLDER", help="Ask the local run with this state folder."
)
@click.option(
    "--log", type=click.Path(path_type=Path), metavar="FILE", help="Read the log of `workerpool local --log FILE`."
)
@click.option(
    "--at",
    metavar="TIME",
    help="With --log: the last decision until then: 17:59:03, 2026-11-22T17:59:03 (local time) or Unix seconds.",
)
@click.pass_context
def explain(
    context_of_command: click.Context,
    /,
    *,
    pool: str,
    namespace: str | None,
    output: str,
    context: str | None,
    kubeconfig: Path | None,
    operator_namespace: str | None,
    address: str | None,
    state_dir: Path | None,
    log: Path | None,
    at: str | None,
) -> None:
    """Why does this pool have its size? The last decision, rule by rule, with the numbers that went in.

    Without an option that says whom to ask: the local run whose state is in .workerpool, if one is alive, else the
    cluster that kubectl would talk to. Needs the right to `get pods/proxy` where the operator runs.

    Exit status: 0 well, 1 when there is no such pool or no decision about it, 2 when nobody could be asked.
    """
    from workerpool_operator.explain.cluster import ClusterOptions  # noqa: PLC0415 - only this command needs them
    from workerpool_operator.explain.run import ExplainArguments, run_explain  # noqa: PLC0415

    cluster = ClusterOptions(kubeconfig=kubeconfig, context=context, operator_namespace=operator_namespace)
    ways = {
        "--address": address,
        "--state-dir": state_dir,
        "--log": log,
        "a cluster": None if cluster == ClusterOptions() else cluster,
    }
    named = [way for way, value in ways.items() if value is not None]
    if len(named) > 1:
        raise click.UsageError(f"either {' or '.join(named)}: one of them can be asked")
    if at is not None and log is None:
        raise click.UsageError("--at needs --log: only a log holds more than the last decision")
    arguments = ExplainArguments(
        pool=pool,
        namespace=namespace,
        as_json=output == "json",
        cluster=cluster,
        cluster_meant=bool(ways["a cluster"]) or context_of_command.find_root().info_name == KUBECTL,
        address=address,
        state_dir=state_dir,
        log=log,
        at=at,
    )
    sys.exit(run_explain(arguments))
