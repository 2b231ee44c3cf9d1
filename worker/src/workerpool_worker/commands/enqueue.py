"""`workerpool-worker enqueue`: jobs from the command line, one or thousands."""

# ruff: noqa: PLC0415 - `--help` and a refused argument need no Celery; the CLI imports this module

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import click
from pydantic import ValidationError

from workerpool_worker import models
from workerpool_worker.commands.enqueue_options import How, with_how
from workerpool_worker.settings import Settings

_Command = Callable[..., Any]
_NOW = How()
_DONE = {"queue": "sent", "inline": "run here (JOBS_MODE is inline)", "off": "dropped (JOBS_MODE is off)"}


def _common(command: _Command) -> _Command:
    command = click.option("--id", "business_id", required=True, help="Business id; the same id is the same job.")(
        command
    )
    command = click.option(
        "--count",
        default=1,
        type=click.IntRange(1, 1_000_000),
        help="Send this many, with -1, -2, ... added to the id.",
    )(command)
    return with_how(command)


@click.group()
def enqueue() -> None:
    """Send jobs."""


@enqueue.command()
@_common
@click.option("--customer", default="Customer")
@click.option("--email", default="customer@example.org")
@click.option("--item", "items", multiple=True, required=True, metavar="SKU:QUANTITY[:UNIT_PRICE_MINOR]")
@click.option("--currency", default="EUR")
@click.option("--token", default="tok_visa", help="Payment token; tok_declined is declined.")
def order(
    *,
    how: How,
    business_id: str,
    count: int,
    customer: str,
    email: str,
    items: tuple[str, ...],
    currency: str,
    token: str,
) -> None:
    """An order: stock, invoice, payment, confirmation."""
    lines = [_line(item) for item in items]
    _send(
        how,
        count,
        business_id,
        lambda id_: models.Order.model_validate(
            {
                "id": id_,
                "customer": customer,
                "email": email,
                "lines": lines,
                "currency": currency,
                "payment_token": token,
            }
        ),
    )


@enqueue.command()
@_common
@click.option("--to", required=True)
@click.option("--subject", default="A message")
@click.option("--text", default="Hello.")
def email(*, how: How, business_id: str, count: int, to: str, subject: str, text: str) -> None:
    """A mail."""
    _send(
        how,
        count,
        business_id,
        lambda id_: models.Email.model_validate({"id": id_, "to": to, "subject": subject, "text": text}),
    )


@enqueue.command()
@_common
@click.option("--to", required=True, help="The number in E.164: +393331234567.")
@click.option("--text", default="Hello.")
def sms(*, how: How, business_id: str, count: int, to: str, text: str) -> None:
    """A text message; a worker has to consume the queue sms."""
    _send(how, count, business_id, lambda id_: models.Sms.model_validate({"id": id_, "to": to, "text": text}))


@enqueue.command()
@_common
@click.option("--amount", required=True, type=int, help="In the currency's minor unit: 1999 is 19.99.")
@click.option("--currency", default="EUR")
@click.option("--token", default="tok_visa")
@click.option("--email", default=None, help="Where the receipt goes; none: no receipt.")
def payment(
    *, how: How, business_id: str, count: int, amount: int, currency: str, token: str, email: str | None
) -> None:
    """A charge."""
    _send(
        how,
        count,
        business_id,
        lambda id_: models.Payment.model_validate(
            {"id": id_, "amount_minor": amount, "currency": currency, "token": token, "email": email}
        ),
    )


@enqueue.command()
@_common
@click.option("--payment", required=True, help="Id of the payment.")
@click.option("--amount", type=int, default=None, help="In the minor unit; none: all that is left.")
def refund(*, how: How, business_id: str, count: int, payment: str, amount: int | None) -> None:
    """A refund."""
    _send(
        how,
        count,
        business_id,
        lambda id_: models.Refund.model_validate({"id": id_, "payment_id": payment, "amount_minor": amount}),
    )


@enqueue.command()
@click.option("--id", "name", required=True, help="Begins every id of the rush; the same name is the same rush.")
@click.option("--orders", default=500, show_default=True, type=click.IntRange(0, 100_000), help="Each becomes 4 jobs.")
@click.option("--payments", default=0, type=click.IntRange(0, 100_000), help="Payments of no order; 2 jobs each.")
@click.option("--welcomes", default=0, type=click.IntRange(0, 100_000), help="Mails to new customers.")
@click.option("--stock", is_flag=True, help="First see to it that there is enough of every article (DATABASE_URL).")
def rush(*, name: str, orders: int, payments: int, welcomes: int, stock: bool) -> None:
    """A shop's rush: orders, payments and mails, mixed."""
    from workerpool_worker.commands.common import fail, on_database, settings_or_fail
    from workerpool_worker.rush import STOCK_EACH, Rush, pieces

    wanted = Rush(name=name, orders=orders, payments=payments, welcomes=welcomes)
    settings = settings_or_fail()
    jobs = checked(wanted.jobs)
    if not jobs:
        fail("a rush of nothing: name --orders, --payments or --welcomes", 2)
    if stock:
        from workerpool_worker.jobs.orders.stock import fill_up

        with on_database(settings) as engine:
            fill_up(engine, pieces(jobs), to=STOCK_EACH)
    seconds = sent(settings, jobs)
    done = _DONE[settings.jobs_mode]
    click.echo(
        f"{name}: {orders} orders, {payments} payments and {welcomes} welcome mails {done} in {seconds:.2f} s, "
        f"{wanted.jobs_in_all} jobs in all"
    )


def _line(text: str) -> dict[str, object]:
    from workerpool_worker.commands.common import fail

    sku, *numbers = text.split(":")
    if not sku or not 1 <= len(numbers) <= 2 or not all(number.isdigit() for number in numbers):  # noqa: PLR2004
        fail(f"--item {text}: write SKU:QUANTITY or SKU:QUANTITY:UNIT_PRICE_MINOR, such as tea:2:499", 2)
    names = ("quantity", "unit_price_minor")
    return {"sku": sku, **{name: int(number) for name, number in zip(names, numbers, strict=False)}}


def _send(how: How, count: int, business_id: str, make: Callable[[str], models.Job]) -> None:
    from workerpool_worker.commands.common import settings_or_fail

    settings = settings_or_fail()
    ids = [business_id] if count == 1 else [f"{business_id}-{number}" for number in range(1, count + 1)]
    jobs = checked(lambda: [make(id_) for id_ in ids])
    said(settings, jobs, sent(settings, jobs, how))


def said(settings: Settings, jobs: list[models.Job], seconds: float) -> None:
    """Say what became of them."""
    done = _DONE[settings.jobs_mode]
    if len(jobs) == 1:
        # In the usual mode the id alone, for scripts.
        click.echo(jobs[0].job_id if settings.jobs_mode == "queue" else f"{jobs[0].job_id}: {done}")
    else:
        click.echo(f"{len(jobs)} jobs {done} in {seconds:.2f} s: {jobs[0].job_id} ... {jobs[-1].job_id}")


def checked(make: Callable[[], list[models.Job]]) -> list[models.Job]:
    """The jobs, or one line that names the field, and status 2."""
    from workerpool_worker.commands.common import fail

    try:
        return make()
    except ValidationError as error:
        first = error.errors()[0]
        fail(f"{'.'.join(map(str, first['loc']))}: {first['msg']} (got {first['input']!r})", 2)


def sent(settings: Settings, jobs: list[models.Job], how: How = _NOW) -> float:
    """Send them all, as JOBS_MODE says; the seconds it took. What goes wrong ends the command with one line."""
    from workerpool_worker.commands.common import fail
    from workerpool_worker.monitoring import logs
    from workerpool_worker.producer import BrokerUnreachableError, Producer
    from workerpool_worker.runtime.errors import JobError

    if settings.jobs_mode != "queue":
        # What is run or dropped here says so in the log.
        logs.configure(settings)
    began = time.monotonic()
    try:
        with Producer.from_settings(settings) as producer:
            if len(jobs) == 1:
                producer.send(jobs[0], **how.arguments())
            else:
                producer.send_many(jobs, **how.arguments())
    except BrokerUnreachableError as error:
        fail(str(error))
    except JobError as error:
        fail("; ".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())]))
    return time.monotonic() - began
