"""The ``workerpool`` command. Each command's work is in a module of its own, imported when it is asked for."""

from __future__ import annotations

import sys
from pathlib import Path

import click

ENVIRONMENT_PREFIX = "WORKERPOOL"

CONTEXT = {"help_option_names": ["-h", "--help"], "auto_envvar_prefix": ENVIRONMENT_PREFIX, "max_content_width": 100}


@click.group(context_settings=CONTEXT)
@click.version_option(package_name="workerpool-operator", prog_name="workerpool")
def main() -> None:
    """Right-sized pools of queue workers, from one YAML.

    Every option can also be set in the environment: --state-dir of `workerpool local` is WORKERPOOL_LOCAL_STATE_DIR.
    """


@main.command()
@click.option(
    "-f",
    "--file",
    "files",
    multiple=True,
    required=True,
    metavar="FILE",
    help="YAML with any number of WorkerPools; - reads standard input. Can be given several times.",
)
@click.option("--log", type=click.Path(path_type=Path), metavar="FILE", help="Append every decision as a JSON line.")
@click.option(
    "--web", type=click.IntRange(0, 65535), metavar="PORT", help="Serve a live page on 127.0.0.1:PORT; 0: any."
)
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path),
    default=Path(".workerpool"),
    show_default=True,
    metavar="FOLDER",
    help="Where the workers' logs and the data of the embedded Redis go.",
)
@click.option(
    "--redis-port",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help="Port of the Redis that is started for pools that name none. [default: 6379 if free, else any]",
)
@click.option("--plain/--live", default=None, help="Lines or a live view. [default: live on a terminal]")
@click.option("--show-worker-logs", is_flag=True, help="Show what the workers print.")
def local(
    *,
    files: tuple[str, ...],
    log: Path | None,
    web: int | None,
    state_dir: Path,
    redis_port: int | None,
    plain: bool | None,
    show_worker_logs: bool,
) -> None:
    """Run WorkerPools on this machine: no cluster, no Docker; replicas are processes.

    A pool that names no broker gets a Redis that is started for it. Secrets are taken from the environment: key `url`
    of secret `redis` from WORKERPOOL_SECRET_REDIS_URL. Ctrl-C lets the workers finish their jobs.

    Exit status: 0 well, 1 when a pool was in trouble at the start, 2 when nothing could be started.
    """
    from workerpool_operator.local.run import LocalArguments, run_local  # noqa: PLC0415 - only this command needs it

    sys.exit(
        run_local(
            LocalArguments(
                files=files,
                state_dir=state_dir,
                log=log,
                web_port=web,
                plain=plain,
                show_worker_logs=show_worker_logs,
                redis_port=redis_port,
            )
        )
    )


@main.command()
@click.option("--chaos", type=click.Choice(["worker", "redis"]), help="kill -9 a busy worker, or stop Redis for 5 s.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as one JSON object; progress on stderr.")
@click.option(
    "--web", type=click.IntRange(0, 65535), metavar="PORT", help="Serve a live page on 127.0.0.1:PORT; 0: any."
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("demo-output"),
    show_default=True,
    metavar="FOLDER",
    help="Where the mails, invoices, decisions and the picture go.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Which customers order what, and who is killed.")
def demo(*, chaos: str | None, as_json: bool, web: int | None, output: Path, seed: int) -> None:
    """A rush hour in a shop: three pools go from zero to work and back, and every job's effect is counted.

    Starts a Redis, a mail server and real Celery workers; needs no Docker and no root; takes about a minute.

    Exit status: 0 when every job was done once, 1 when one was lost or done twice, 2 when the demo could not run.
    """
    from workerpool_operator.demo.chaos import Chaos  # noqa: PLC0415 - only this command needs them
    from workerpool_operator.demo.run import DemoArguments, run_demo  # noqa: PLC0415

    wanted = Chaos(chaos) if chaos else None
    sys.exit(run_demo(DemoArguments(output=output, chaos=wanted, as_json=as_json, web_port=web, seed=seed)))


@main.command()
def crd() -> None:
    """Print the CustomResourceDefinition of WorkerPool: `workerpool crd | kubectl apply --server-side -f -`."""
    from workerpool_operator.kube.crd import crd_yaml  # noqa: PLC0415 - only this command needs it

    click.echo(crd_yaml(), nl=False)
