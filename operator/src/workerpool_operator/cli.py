"""The ``workerpool`` command. Each command's work is in a module of its own, imported when it is asked for."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from workerpool_operator.explain.command import KUBECTL, explain
from workerpool_operator.simulate.command import simulate

ENVIRONMENT_PREFIX = "WORKERPOOL"

CONTEXT = {"help_option_names": ["-h", "--help"], "auto_envvar_prefix": ENVIRONMENT_PREFIX, "max_content_width": 100}


def open_standard_streams() -> None:
    """Give what was started without standard input, output or error (``>&-``) an empty one.

    Otherwise the next file or socket takes its number, and what is printed, by a worker too, ends up there.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    while nowhere <= 2:  # noqa: PLR2004 - the lowest free numbers come first
        os.set_inheritable(nowhere, True)
        nowhere = os.open(os.devnull, os.O_RDWR)
    os.close(nowhere)
    sys.stdin = sys.stdin or os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)


@click.group(context_settings=CONTEXT)
@click.version_option(package_name="workerpool-operator", prog_name="workerpool")
def main() -> None:
    """Right-sized pools of queue workers, from one YAML.

    Every option can also be set in the environment: --state-dir of `workerpool local` is WORKERPOOL_LOCAL_STATE_DIR.
    """
    open_standard_streams()


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
@click.option(
    "--namespace",
    "namespaces",
    multiple=True,
    metavar="NAME",
    help="Serve this namespace only; can be given several times. [default: the whole cluster]",
)
@click.option(
    "--lease-namespace", metavar="NAME", help="Where the Lease lies that decides who leads. [default: the pod's own]"
)
@click.option("--lease-name", default="workerpool-operator", show_default=True, metavar="NAME", help="Its name.")
@click.option(
    "--allowed-broker-hosts",
    multiple=True,
    metavar="PATTERN",
    help="Talk to brokers on such hosts only, such as *.redis.svc; can be given several times. [default: any]",
)
@click.option(
    "--worker-image",
    metavar="IMAGE",
    help="What runs where spec.worker names no image: a copy of the bundled worker in a registry of your own, by tag "
    "or digest. [default: the bundled worker of this version]",
)
@click.option(
    "--host",
    default="0.0.0.0",  # noqa: S104 - the kubelet asks from outside
    show_default=True,
    help="Where /healthz, /readyz, /metrics and /explain listen.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Their port; 0: any.")
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="How to reach the API server. [default: the pod's service account, else what kubectl takes]",
)
@click.option("--context", metavar="NAME", help="One of the kubeconfig's contexts. [default: its current one]")
@click.option("--log-format", type=click.Choice(["json", "text"]), default="json", show_default=True)
@click.option(
    "--log-level", type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"]), default="INFO", show_default=True
)
def operator(
    *,
    namespaces: tuple[str, ...],
    lease_namespace: str | None,
    lease_name: str,
    allowed_broker_hosts: tuple[str, ...],
    worker_image: str | None,
    host: str,
    port: int,
    kubeconfig: Path | None,
    context: str | None,
    log_format: str,
    log_level: str,
) -> None:
    """Run the Kubernetes operator: watch WorkerPools, keep their Deployments at the right size.

    Several may run: one leads by a Lease and the others stand by. SIGTERM hands over at once.

    Exit status: 0 stopped in order, 1 a part failed, 2 it could not start.
    """
    from workerpool_operator.kube.run import own_namespace, run_operator  # noqa: PLC0415 - only this command needs them
    from workerpool_operator.kube.settings import LogFormat, OperatorSettings  # noqa: PLC0415
    from workerpool_operator.resource.worker import BUNDLED_IMAGE, is_image  # noqa: PLC0415

    if worker_image and not is_image(worker_image):
        click.echo(
            f"workerpool operator: --worker-image: {worker_image!r} is not an image reference "
            "(such as mirror.example/worker:0.1.0)",
            err=True,
        )
        sys.exit(2)

    settings = OperatorSettings(
        namespaces=namespaces,
        lease_namespace=lease_namespace or own_namespace(),
        lease_name=lease_name,
        allowed_broker_hosts=allowed_broker_hosts,
        worker_image=worker_image or BUNDLED_IMAGE,
        host=host,
        port=port,
        kubeconfig=kubeconfig,
        context=context,
        log_format=LogFormat(log_format),
        log_level=log_level,
    )
    sys.exit(run_operator(settings))


@main.command()
def crd() -> None:
    """Print the CustomResourceDefinition of WorkerPool: `workerpool crd | kubectl apply --server-side -f -`."""
    from workerpool_operator.kube.crd import crd_yaml  # noqa: PLC0415 - only this command needs it

    click.echo(crd_yaml(), nl=False)


main.add_command(simulate)
main.add_command(explain)


def kubectl_plugin() -> None:
    """The same commands as ``kubectl workerpool ...``: kubectl runs the program ``kubectl-workerpool`` for that."""
    main(prog_name=KUBECTL)
