"""What was sent, what is there at the end, and a line of the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tests.torture.plan import Item, Kind
from workerpool_worker.effects import InvoiceRecord, LedgerEntry, OrderRecord, StockMovement
from workerpool_worker.messages.letters import Letter
from workerpool_worker.models import Order


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line of the verdict; `wrong` names what is not as it should be."""

    name: str
    looked_at: int
    wrong: tuple[str, ...] = ()
    note: str = ""

    @property
    def right(self) -> bool:
        """Whether all of it is as it should be."""
        return not self.wrong


@dataclass(frozen=True, kw_only=True)
class Found:
    """What is there at the end.

    Attributes:
        states: As the database lists them.
        asked: What the worker says when asked for one job, where the database does not say that it ended.
    """

    orders: Mapping[str, OrderRecord]
    movements: tuple[StockMovement, ...]
    stock: Mapping[str, int]
    ledger: tuple[LedgerEntry, ...]
    invoices: tuple[InvoiceRecord, ...]
    mails: Mapping[str, int]
    doubled_mails: int
    messages: Mapping[str, int]
    letters: tuple[Letter, ...]
    letters_out_of_step: tuple[str, ...]
    residue: Mapping[str, int]
    claimed: frozenset[str]
    outbox: int
    states: Mapping[str, str]
    asked: Mapping[str, str]
    workers: int
    ended_badly: tuple[str, ...]
    ended_by_celery: int


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What was sent, and what may have come of it.

    Attributes:
        rare: How many pieces there were of the article everybody wants.
        kills: Kills that may have met a mail between the server's answer and our commit.
        recovered: Whether `maintenance.recover` ran when all was done.
    """

    items: tuple[Item, ...]
    rare: int
    max_losses: int
    kills: int
    concurrency: int
    recovered: bool = False

    def of(self, *kinds: Kind) -> list[Item]:
        """Those of these kinds."""
        return [item for item in self.items if item.kind in kinds]

    def orders(self) -> Iterator[tuple[Item, Order]]:
        """The orders."""
        for item in self.items:
            if isinstance(item.job, Order):
                yield item, item.job
