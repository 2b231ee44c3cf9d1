"""What the shop must find: orders, charges, stock, invoices, refunds, mails and text messages."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from tests.torture.facts import Check, Found, Sent
from tests.torture.plan import ARTICLES, RARE, Item, Kind
from tests.torture.world import STOCK_EACH
from workerpool_worker.effects import LedgerEntry
from workerpool_worker.models import Order, Payment

_SHOWN = 20


def state_of(item: Item, order: Order, found: Found) -> str:
    """The state an order must be in."""
    if item.kind is Kind.DECLINED:
        return "declined"
    record = found.orders.get(order.id)
    if item.kind is Kind.SCARCE and record is not None and record.state == "out_of_stock":
        return "out_of_stock"
    back = refunded_minor(item, order)
    return "refunded" if back == order.total_minor else "partly_refunded" if back else "paid"


def refunded_minor(item: Item, order: Order) -> int:
    """What is given back in the end."""
    if None in item.refunds:
        return order.total_minor
    return sum(part for part in item.refunds if part is not None)


def order_states(sent: Sent, found: Found) -> Check:
    wrong, looked_at = [], 0
    for item, order in sent.orders():
        looked_at += 1
        record = found.orders.get(order.id)
        should = state_of(item, order, found)
        if record is None:
            wrong.append(f"order {order.id} is not there")
        elif record.state != should:
            wrong.append(f"order {order.id} is {record.state}, not {should}")
        elif record.refunded_minor != refunded_minor(item, order):
            wrong.append(f"order {order.id}: {record.refunded_minor} given back, not {refunded_minor(item, order)}")
    unknown = found.orders.keys() - {order.id for _, order in sent.orders()}
    wrong += [f"order {name} was never sent" for name in sorted(unknown)]
    return Check(name="every order is there, in the state it should be in", looked_at=looked_at, wrong=tuple(wrong))


def charges(sent: Sent, found: Found) -> Check:
    charges: dict[str, list[LedgerEntry]] = defaultdict(list)
    for entry in found.ledger:
        if entry.kind == "charge":
            charges[entry.payment].append(entry)
    should: dict[str, tuple[int, str]] = {}
    for item, order in sent.orders():
        if state_of(item, order, found) != "out_of_stock":
            should[order.id] = (order.total_minor, "declined" if item.kind is Kind.DECLINED else "succeeded")
    for item in sent.of(Kind.PAYMENT):
        if isinstance(item.job, Payment):
            should[item.job.id] = (item.job.amount_minor, "succeeded")
    wrong = []
    for name in sorted(should.keys() | charges.keys()):
        is_there = [(one.amount_minor, one.status) for one in charges[name]]
        if is_there != [should.get(name)]:
            wrong.append(f"charges of {name}: {is_there}, not {should.get(name, 'none')}")
    return Check(name="exactly one charge for each order and payment", looked_at=len(should), wrong=tuple(wrong))


def movements(sent: Sent, found: Found) -> Check:
    should: Counter[tuple[str, str, str, int]] = Counter()
    for item, order in sent.orders():
        state = state_of(item, order, found)
        for line in order.lines:
            if state != "out_of_stock":
                should[order.id, line.sku, "reserve", -line.quantity] += 1
            if state == "declined":
                should[order.id, line.sku, "release", line.quantity] += 1
    there = Counter((one.order_id, one.sku, one.kind, one.quantity) for one in found.movements)
    wrong = [f"missing: {one}" for one in should - there] + [f"too many: {one}" for one in there - should]
    return Check(
        name="exactly one stock movement for each article of an order",
        looked_at=sum(should.values()),
        wrong=tuple(wrong),
    )


def stock(sent: Sent, found: Found) -> Check:
    moved: Counter[str] = Counter()
    for one in found.movements:
        moved[one.sku] += one.quantity
    began = dict.fromkeys(ARTICLES, STOCK_EACH) | {RARE: sent.rare}
    wrong = []
    for sku, before in began.items():
        if found.stock.get(sku) != before + moved[sku]:
            wrong.append(f"{sku}: {found.stock.get(sku)} left of {before} after movements of {moved[sku]}")
    wrong += [f"{sku}: {quantity}" for sku, quantity in found.stock.items() if quantity < 0]
    refused = sum(record.state == "out_of_stock" for record in found.orders.values())
    if refused and found.stock.get(RARE):
        wrong.append(f"{refused} orders were refused although {found.stock.get(RARE)} of {RARE} are left")
    note = f"{refused} refused for want of stock"
    return Check(name="stock adds up and is never below zero", looked_at=len(began), wrong=tuple(wrong), note=note)


def invoices(sent: Sent, found: Found) -> Check:
    should = {order.id for item, order in sent.orders() if state_of(item, order, found) != "out_of_stock"}
    there = Counter(one.order_id for one in found.invoices)
    wrong = [f"order {name} has {there[name]} invoices" for name in sorted(should) if there[name] != 1]
    wrong += [f"an invoice for {name}" for name in sorted(there.keys() - should)]
    numbers = sorted(one.number for one in found.invoices)
    without_gaps = [f"INV-{number:06d}" for number in range(1, len(numbers) + 1)]
    if numbers != without_gaps:
        wrong.append(f"the numbers have gaps: {sorted(set(without_gaps) ^ set(numbers))[:_SHOWN]}")
    return Check(
        name="exactly one invoice for each order, numbers without gaps", looked_at=len(should), wrong=tuple(wrong)
    )


def confirmations(sent: Sent, found: Found) -> Check:
    should = [f"email-order-confirmation-{o.id}" for i, o in sent.orders() if state_of(i, o, found) != "out_of_stock"]
    return _mailed("a confirmation for each order", should, found, "email-order-confirmation-")


def receipts(sent: Sent, found: Found) -> Check:
    should = [
        f"email-receipt-{order.id}"
        for item, order in sent.orders()
        if state_of(item, order, found) not in {"out_of_stock", "declined"}
    ]
    should += [f"email-receipt-{item.job.id}" for item in sent.of(Kind.PAYMENT) if item.job is not None]
    return _mailed("a receipt for each charge", should, found, "email-receipt-")


def other_mails(sent: Sent, found: Found) -> Check:
    should = [item.job_id for item in sent.of(Kind.MAIL)]
    return _mailed("every other mail, and none that nobody sent", should, found, ("email-t", "email-welcome-"))


def _mailed(name: str, should: Iterable[str], found: Found, prefix: str | tuple[str, ...]) -> Check:
    wanted = set(should)
    there = {job for job in found.mails if job.startswith(prefix)}
    wrong = [f"no mail {job}" for job in sorted(wanted - there)] + [f"a mail {job}" for job in sorted(there - wanted)]
    return Check(name=name, looked_at=len(wanted), wrong=tuple(wrong))


def doubled_mails(sent: Sent, found: Found) -> Check:
    # A kill meets at most as many mails as a worker has children.
    allowed = sent.kills * sent.concurrency
    doubled = found.doubled_mails + sum(count - 1 for count in found.messages.values())
    wrong = (f"{doubled} came again, {sent.kills} kills explain {allowed} at most",) if doubled > allowed else ()
    return Check(
        name="mails and text messages that came again (only after SIGKILL)",
        looked_at=sum(found.mails.values()) + sum(found.messages.values()),
        wrong=wrong,
        note=f"{doubled} after {sent.kills} kills",
    )


def messages(sent: Sent, found: Found) -> Check:
    wanted = {item.job.id for item in sent.of(Kind.SMS) if item.job is not None}
    wrong = [f"no text message {name}" for name in sorted(wanted - found.messages.keys())]
    wrong += [f"a text message {name}" for name in sorted(found.messages.keys() - wanted)]
    return Check(name="every text message", looked_at=len(wanted), wrong=tuple(wrong))


def refunds(sent: Sent, found: Found) -> Check:
    should, looked_at = {}, 0
    for item, order in sent.orders():
        if item.refunds:
            looked_at += len(item.refunds)
            should[order.id] = refunded_minor(item, order)
    there: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    for entry in found.ledger:
        if entry.kind == "refund":
            asked[entry.payment] += 1
            there[entry.payment] += entry.amount_minor if entry.status == "succeeded" else 0
    counts = {order.id: len(item.refunds) for item, order in sent.orders()}
    wrong = [
        f"{name}: {there[name]} given back in {asked[name]} refunds, not {should.get(name, 0)} in {counts.get(name, 0)}"
        for name in sorted(should.keys() | asked.keys())
        if (there[name], asked[name]) != (should.get(name, 0), counts.get(name, 0))
    ]
    return Check(name="refunds match", looked_at=looked_at, wrong=tuple(wrong))
