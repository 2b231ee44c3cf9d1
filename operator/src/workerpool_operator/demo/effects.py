"""Counting what really happened: mails received, rows of the ledger, stock movements, invoices.

Nothing here believes a worker's own word. A job is done when its effect is there, lost when it is not there at the end,
and done twice when its effect is there twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from workerpool_operator.demo.mailbox import Mailbox
from workerpool_operator.demo.shop import MAIL_DOMAIN, STOCK_EACH
from workerpool_worker.effects import EffectsReader
from workerpool_worker.models import Order, WelcomeEmail


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """How many effects each kind of job should have had, had, and had too often."""

    kind: str
    expected: int
    seen: int
    twice: int

    @property
    def lost(self) -> int:
        """Effects that are missing."""
        return self.expected - self.seen


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """All tallies of a run."""

    tallies: tuple[Tally, ...]

    @property
    def expected(self) -> int:
        """Jobs that should have been done."""
        return sum(tally.expected for tally in self.tallies)

    @property
    def done(self) -> int:
        """Jobs whose effect is there."""
        return sum(tally.seen for tally in self.tallies)

    @property
    def lost(self) -> int:
        """Jobs whose effect is not there."""
        return sum(tally.lost for tally in self.tallies)

    @property
    def twice(self) -> int:
        """Effects beyond the first of a job."""
        return sum(tally.twice for tally in self.tallies)


def account(
    orders: Sequence[Order], mails: Sequence[WelcomeEmail], *, reader: EffectsReader, mailbox: Mailbox
) -> Account:
    """Compare what the shop sent with what is there now. Each order is one order, payment and two mails' job."""
    order_ids = [order.id for order in orders]
    received = mailbox.counts()
    charges = [entry for entry in reader.ledger_entries() if entry.kind == "charge" and entry.status == "succeeded"]
    return Account(
        tallies=(
            _orders(orders, reader),
            _tally("payment: charge in the ledger", order_ids, Counter(entry.payment for entry in charges)),
            _mails("email: order confirmation", "email-order-confirmation", order_ids, received),
            _mails("email: payment receipt", "email-receipt", order_ids, received),
            _mails("email: welcome", "email-welcome", [mail.id for mail in mails], received),
        )
    )


def _orders(orders: Sequence[Order], reader: EffectsReader) -> Tally:
    """An order is done when its row, its invoice and every one of its stock movements are there."""
    kept = {record.id for record in reader.orders() if record.state not in ("", "failed")}
    invoices = Counter(invoice.order_id for invoice in reader.invoices())
    moves = Counter((move.order_id, move.sku) for move in reader.stock_movements() if move.kind == "reserve")
    done = twice = 0
    for order in orders:
        counts = [moves[order.id, line.sku] for line in order.lines] + [invoices[order.id]]
        done += order.id in kept and min(counts) >= 1
        twice += sum(max(0, count - 1) for count in counts)
    twice += _sold_twice(reader)
    return Tally(kind="order: stock moved, invoice made", expected=len(orders), seen=done, twice=twice)


def _sold_twice(reader: EffectsReader) -> int:
    """Articles of which the shelf holds fewer than the movements account for: something was taken twice."""
    moved: Counter[str] = Counter()
    for move in reader.stock_movements():
        moved[move.sku] += move.quantity
    return sum(1 for sku, left in reader.stock().items() if left < STOCK_EACH + moved[sku])


def _mails(kind: str, prefix: str, ids: Sequence[str], received: Counter[str]) -> Tally:
    counts = Counter({one: received[f"<{prefix}-{one}@{MAIL_DOMAIN}>"] for one in ids})
    return _tally(kind, ids, counts)


def _tally(kind: str, ids: Sequence[str], counts: Counter[str]) -> Tally:
    return Tally(
        kind=kind,
        expected=len(ids),
        seen=sum(1 for one in ids if counts[one]),
        twice=sum(max(0, counts[one] - 1) for one in ids),
    )
