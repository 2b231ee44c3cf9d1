"""What is sent, and what is to come of it: made from the seed alone, before anything happens to it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from tests.torture.jobs import QUEUE, Crash, Slow, Stuck
from workerpool_worker.models import Email, Job, Order, OrderLine, Payment, Refund, Sms, WelcomeEmail

REFUSED_DOMAIN = "refused.example"
"""The mail server refuses it for good."""

STUCK_LIMITS_S = (1, 2)
"""Soft and hard time limit of jobs that hang."""

RARE = "rare-tea"
ARTICLES = ("tea", "cup", "pot", "beans", "kettle", "spoon")
LARGE_BYTES = 10_000_000


class Kind(StrEnum):
    """What is sent."""

    PAID = "order that is paid"
    DECLINED = "order whose card is declined"
    UNANSWERED = "order whose charge is answered to nobody at first"
    SCARCE = "order of what there is too little of"
    PAYMENT = "payment of no order"
    MAIL = "mail"
    REFUSED_MAIL = "mail that is refused for good"
    SMS = "text message"
    SLOW = "slow job that fails now and then"
    CRASH = "job that kills its child"
    CRASH_WORKER = "job that kills its worker"
    STUCK = "job beyond its hard time limit"
    NOT_JSON = "message that is not JSON"
    NO_TASK = "message of an unknown task"
    NO_ARGUMENTS = "message with wrong arguments"
    LARGE = "message of 10 MB"


ORDERS = frozenset({Kind.PAID, Kind.DECLINED, Kind.UNANSWERED, Kind.SCARCE})
HARMFUL = frozenset(
    {
        Kind.REFUSED_MAIL, Kind.CRASH, Kind.CRASH_WORKER, Kind.STUCK,
        Kind.NOT_JSON, Kind.NO_TASK, Kind.NO_ARGUMENTS, Kind.LARGE,
    }
)  # fmt: skip
"""What ends in the dead letters, each once."""

_WEIGHTS: Mapping[Kind, int] = {
    Kind.PAID: 400,
    Kind.DECLINED: 60,
    Kind.UNANSWERED: 60,
    Kind.SCARCE: 40,
    Kind.PAYMENT: 100,
    Kind.MAIL: 150,
    Kind.SMS: 100,
    Kind.SLOW: 30,
    Kind.REFUSED_MAIL: 12,
    Kind.CRASH: 5,
    Kind.CRASH_WORKER: 2,
    Kind.STUCK: 5,
    Kind.NOT_JSON: 6,
    Kind.NO_TASK: 6,
    Kind.NO_ARGUMENTS: 6,
    Kind.LARGE: 2,
}


@dataclass(frozen=True, kw_only=True)
class Item:
    """One thing that is sent.

    Attributes:
        kind: What it is.
        job: The job; None for a message that is none.
        queue: Where it goes.
        raw: The message that is none.
        task: The task's name, where it is no job of ours.
        job_id: What it will be called in dead letters and logs; "" where it has no id.
        delay_s: In how many seconds it comes due; 0 at once.
        refunds: What is given back once it is paid: amounts, None for all that is left.
    """

    kind: Kind
    job: Job | None = None
    queue: str
    raw: bytes = b""
    task: str = ""
    job_id: str = ""
    delay_s: float = 0.0
    refunds: tuple[int | None, ...] = ()


class Plan:
    """An endless line of things to send; the same one for the same seed.

    Args:
        seed: Decides it.
        without: Kinds that do not occur.
        once: Kinds that occur once.
    """

    def __init__(
        self, seed: int, *, without: frozenset[Kind] = frozenset(), once: frozenset[Kind] = frozenset()
    ) -> None:
        self._dice = random.Random(seed)
        self._first = [kind for kind in _WEIGHTS if kind not in without]
        self._kinds = [kind for kind in self._first if kind not in once]
        self._weights = [_WEIGHTS[kind] for kind in self._kinds]
        self._number = 0

    def items(self) -> Iterator[Item]:
        """The line."""
        for kind in self._first:
            yield self.item(kind)  # whatever the dice say, there is one of each
        while True:
            yield self.item(self._dice.choices(self._kinds, self._weights)[0])

    def item(self, kind: Kind) -> Item:
        """One more of a kind."""
        self._number += 1
        name = f"t{self._number}"
        if kind in ORDERS:
            return self._order(kind, name)
        job = self._job(kind, name)
        if job is not None:
            late = kind in {Kind.MAIL, Kind.SMS, Kind.PAYMENT} and self._dice.random() < 0.3
            delay_s = round(self._dice.uniform(0.5, 8), 2) if late else 0.0
            return Item(kind=kind, job=job, queue=job.queue, job_id=job.job_id, task=job.task, delay_s=delay_s)
        return self._poison(kind, name)

    def _order(self, kind: Kind, name: str) -> Item:
        articles = (RARE,) if kind is Kind.SCARCE else self._dice.sample(ARTICLES, self._dice.randint(1, 3))
        quantity = 1 if kind is Kind.SCARCE else self._dice.randint(1, 4)
        tokens = {Kind.DECLINED: "tok_declined", Kind.UNANSWERED: "tok_lost_answer"}
        order = Order(
            id=name,
            customer=f"Customer {name}",
            email=f"{name}@example.org",
            lines=tuple(OrderLine(sku=sku, quantity=quantity, unit_price_minor=499) for sku in articles),
            payment_token=tokens.get(kind, "tok_visa"),
        )
        refunds: tuple[int | None, ...] = ()
        if kind is Kind.PAID and self._dice.random() < 0.4:
            part = order.total_minor // self._dice.randint(3, 9)
            refunds = self._dice.choice([(None,), (part,), (part, part), (part, None)])
        return Item(kind=kind, job=order, queue=order.queue, job_id=order.job_id, task=order.task, refunds=refunds)

    def _job(self, kind: Kind, name: str) -> Job | None:
        mailbox = f"{name}@example.org"
        makers: Mapping[Kind, Callable[[], Job]] = {
            Kind.PAYMENT: lambda: Payment(
                id=name, amount_minor=self._dice.randint(100, 9_999), email=mailbox, customer=name
            ),
            Kind.MAIL: lambda: self._mail(name, mailbox),
            Kind.REFUSED_MAIL: lambda: Email(id=name, to=f"{name}@{REFUSED_DOMAIN}", subject="No", text="To nobody."),
            Kind.SMS: lambda: Sms(id=name, to=f"+3933{self._number:08d}", text=f"Your parcel {name} is on its way."),
            Kind.SLOW: lambda: Slow(id=name, seconds=round(self._dice.uniform(0.1, 1.5), 2)),
            Kind.CRASH: lambda: Crash(id=name, victim="child"),
            Kind.CRASH_WORKER: lambda: Crash(id=name, victim="worker"),
            Kind.STUCK: lambda: Stuck(id=name),
        }
        return makers[kind]() if kind in makers else None

    def _mail(self, name: str, mailbox: str) -> Job:
        if self._dice.random() < 0.5:
            return WelcomeEmail(id=name, customer=f"Customer {name}", to=mailbox)
        return Email(id=name, to=mailbox, subject=f"News for {name}", text="Nothing new.\n.\nReally.")

    def _poison(self, kind: Kind, name: str) -> Item:
        queue = self._dice.choice(("order", "payment", "email", QUEUE))
        match kind:
            case Kind.NOT_JSON:
                return Item(kind=kind, queue=queue, raw=f"{{'no': json, {name}".encode())
            case Kind.LARGE:
                return Item(kind=kind, queue=queue, raw=json.dumps({name: "x" * LARGE_BYTES}).encode())
            case Kind.NO_TASK:
                return Item(kind=kind, queue=queue, task="shop.unknown", job_id=f"unknown-{name}")
            case _:
                return Item(kind=kind, queue="payment", task="payment.process", job_id=f"wrong-{name}")


def refund_of(item: Item, number: int) -> Refund:
    """The refund job of an order."""
    if item.job is None:
        raise ValueError(f"{item.kind} has no refunds")
    return Refund(id=f"{item.job.id}-back-{number}", payment_id=item.job.id, amount_minor=item.refunds[number])
