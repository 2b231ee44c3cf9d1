"""The command line: `workerpool-worker`. What is more than a few lines is a module of `commands`."""

# ruff: noqa: PLC0415 - a command imports what it needs, so that none waits for what another needs

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from workerpool_worker import at_start  # noqa: F401 - before all that takes long to import
from workerpool_worker.commands.common import fail, on_database, settings_or_fail
from workerpool_worker.settings import settings_table, without_password

if TYPE_CHECKING:
    pass

_USAGE_ERROR = 2


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="workerpool-worker")
def main() -> None:
    """The bundled WorkerPool worker: email, order and payment jobs, and yours."""


@main.command()
@click.option("--queues", help="Queues to consume, with commas between (WORKERPOOL_QUEUES).")
@click.option("--concurrency", type=int, help="Jobs at a time (WORKERPOOL_CONCURRENCY).")
def run(queues: str | None, concurrency: int | None) -> None:
    """Consume jobs until SIGTERM; this process is Celery's main process."""
    settings = settings_or_fail(queues=queues, concurrency=concurrency)
    from workerpool_worker.commands.tasks import jobs_or_fail
    from workerpool_worker.monitoring.health import PortError
    from workerpool_worker.run import run_worker

    jobs_or_fail(settings)
    try:
        sys.exit(run_worker(settings))
    except PortError as error:
        fail(str(error), _USAGE_ERROR)


@main.command("settings")
def show_settings() -> None:
    """Every setting, its value and where it came from; secrets are masked."""
    rows = settings_table(settings_or_fail())
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        cells = [row[column].ljust(widths[column]) for column in range(3)]
        click.echo("  ".join([*cells, row.meaning]))


@main.command()
@click.argument("amounts", metavar="SKU=QUANTITY...", nargs=-1)
def stock(amounts: tuple[str, ...]) -> None:
    """Set the stock of articles, then show all of it."""
    settings = settings_or_fail()
    wanted = []
    for text in amounts:
        sku, _, quantity = text.partition("=")
        if not sku or not quantity.isdigit():
            fail(f"{text}: write SKU=QUANTITY, such as tea=100", _USAGE_ERROR)
        wanted.append((sku, int(quantity)))
    from workerpool_worker.jobs.orders.stock import read_stock, set_stock

    with on_database(settings) as engine:
        for sku, amount in wanted:
            set_stock(engine, sku, amount)
        for sku, amount in read_stock(engine).items():
            click.echo(f"{sku}\t{amount}")


@main.command()
@click.argument("order_id", metavar="ORDER_ID")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, allow_dash=True), help="Default: ORDER_ID.pdf; -: stdout."
)
def invoice(order_id: str, output: str | None) -> None:
    """Write an order's invoice as a PDF."""
    settings = settings_or_fail()
    from workerpool_worker.jobs.orders.invoices import export, read_invoice

    with on_database(settings) as engine:
        content = read_invoice(engine, order_id)
    if content is None:
        fail(f"no invoice for order {order_id} in {without_password(settings.database)}")
    if output == "-":
        sys.stdout.buffer.write(content)
        return
    path = Path(output or f"{order_id}.pdf")
    try:
        export(path, content)
    except OSError as error:
        fail(f"cannot write {path}: {error.strerror}")
    click.echo(path)


def _add_commands() -> None:
    from workerpool_worker.commands.dead_letters import dead_letters
    from workerpool_worker.commands.enqueue import enqueue
    from workerpool_worker.commands.jobs import jobs, migrate
    from workerpool_worker.commands.relay import relay
    from workerpool_worker.commands.schedules import schedules
    from workerpool_worker.commands.tasks import enqueue_job, tasks

    enqueue.add_command(enqueue_job)
    main.add_command(dead_letters)
    main.add_command(enqueue)
    main.add_command(jobs)
    main.add_command(migrate)
    main.add_command(tasks)
    main.add_command(relay)
    main.add_command(schedules)


_add_commands()

if __name__ == "__main__":
    main()
