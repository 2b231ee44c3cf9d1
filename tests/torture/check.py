"""The verdict: what should be there, beside what is there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from tests.torture import shop_checks
from tests.torture.facts import Check, Found, Sent
from tests.torture.plan import HARMFUL, ORDERS, Item, Kind
from workerpool_worker.messages.letters import Letter

FINAL = frozenset({"completed", "failed"})


def verdict(sent: Sent, found: Found) -> list[Check]:
    """Every line."""
    return [
        shop_checks.order_states(sent, found),
        shop_checks.charges(sent, found),
        shop_checks.movements(sent, found),
        shop_checks.stock(sent, found),
        shop_checks.invoices(sent, found),
        shop_checks.confirmations(sent, found),
        shop_checks.receipts(sent, found),
        shop_checks.refunds(sent, found),
        shop_checks.other_mails(sent, found),
        shop_checks.doubled_mails(sent, found),
        shop_checks.messages(sent, found),
        _dead_letters(sent, found),
        _states(sent, found),
        _rows(sent, found),
        _residue(found),
        _claims(sent, found),
        Check(
            name="workers ended only when told to",
            looked_at=found.workers,
            wrong=found.ended_badly,
            note=f"{found.ended_by_celery} by faults of Celery's own" if found.ended_by_celery else "",
        ),
    ]


_LETTER_ERRORS = {
    Kind.REFUSED_MAIL: ("MailRefusedError", 1),
    Kind.NOT_JSON: ("UnreadableMessage", None),
    Kind.LARGE: ("UnreadableMessage", None),
    Kind.NO_ARGUMENTS: ("InvalidJobError", 1),
}


def _dead_letters(sent: Sent, found: Found) -> Check:
    wrong = [f"letter {name} lacks a part" for name in found.letters_out_of_step]
    by_id = {letter.id: letter for letter in found.letters}
    should = {letter_name(item): item for item in sent.items if item.kind in HARMFUL}
    for name in sorted(by_id.keys() - should.keys()):
        letter = by_id[name]
        wrong.append(f"{name} is there: {letter.error}: {letter.text[:200]} (lost {letter.losses} times)")
    for name, item in should.items():
        if name not in by_id:
            wrong.append(f"{name} ({item.kind}) is not there")
        else:
            wrong += [f"{name}: {text}" for text in _letter_is_wrong(item, by_id[name], sent)]
    return Check(
        name="the dead letters are what kills or cannot be done, each once", looked_at=len(should), wrong=tuple(wrong)
    )


def _letter_is_wrong(item: Item, letter: Letter, sent: Sent) -> Iterator[str]:
    if item.kind in {Kind.CRASH, Kind.CRASH_WORKER, Kind.STUCK} and letter.losses != sent.max_losses:
        yield f"was lost {letter.losses} times, not {sent.max_losses}"
    error, attempts = _LETTER_ERRORS.get(item.kind, (letter.error, None))
    if letter.error != error:
        yield f"is a {letter.error}, not a {error}"
    # Chance may have killed it on the way, which is a try too; nothing else is.
    if attempts is not None and letter.attempts - letter.losses != attempts:
        yield f"was tried {letter.attempts} times, {letter.losses} of them lost"
    if letter.queue != item.queue:
        yield f"lies in {letter.queue}, not {item.queue}"


def letter_name(item: Item) -> str:
    """The id of the dead letter that an item becomes."""
    return item.job_id or f"message-{hashlib.sha256(item.raw).hexdigest()[:16]}"


def _states(sent: Sent, found: Found) -> Check:
    wrong = []
    named = [item for item in sent.items if item.job is not None]
    for item in named:
        state = found.asked.get(item.job_id) or found.states.get(item.job_id, "unknown")
        should = "failed" if item.kind in HARMFUL else "completed"
        if state != should:
            wrong.append(f"job {item.job_id} is {state}, not {should}")
    return Check(name="the final state of every job is known", looked_at=len(named), wrong=tuple(wrong))


def _rows(sent: Sent, found: Found) -> Check:
    going_on = {name: state for name, state in found.states.items() if state not in FINAL}
    note = ""
    if not sent.recovered:
        # A child that was killed writes no status: maintenance.recover does, minutes later.
        buried = going_on.keys() & {letter.job_id for letter in found.letters}
        note = f"{len(buried)} of dead letters left to maintenance.recover" if buried else ""
        going_on = {name: state for name, state in going_on.items() if name not in buried}
    wrong = tuple(f"job {name} is {state}" for name, state in going_on.items())
    return Check(name="no job is listed as one that goes on", looked_at=len(found.states), wrong=wrong, note=note)


def _residue(found: Found) -> Check:
    wrong = [f"{key} holds {count}" for key, count in found.residue.items()]
    if found.outbox:
        wrong.append(f"the outbox holds {found.outbox}")
    return Check(name="nothing is left in lists, unacknowledged, delayed or outbox", looked_at=1, wrong=tuple(wrong))


def _claims(sent: Sent, found: Found) -> Check:
    may_be = {f"email:{item.job_id}" for item in sent.of(Kind.REFUSED_MAIL)}
    wrong = [f"{key} was begun and is not done" for key in sorted(found.claimed - may_be)]
    orders = sum(item.kind in ORDERS for item in sent.items)
    return Check(name="nothing was begun and left", looked_at=orders, wrong=tuple(wrong))
