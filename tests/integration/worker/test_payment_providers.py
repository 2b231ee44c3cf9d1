"""What every payment provider has to do, whoever it is: the sandbox, Stripe (a fake) and Paystack (a fake)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.providers.fake_paystack import KEY as PAYSTACK_KEY
from tests.support.providers.fake_paystack import FakePaystack
from tests.support.providers.fake_stripe import KEY as STRIPE_KEY
from tests.support.providers.fake_stripe import FakeStripe
from workerpool_worker.jobs.payments.paystack import PaystackProvider
from workerpool_worker.jobs.payments.provider import Charge, PaymentProvider, RefundAnswer
from workerpool_worker.jobs.payments.sandbox import SandboxProvider
from workerpool_worker.jobs.payments.stripe import StripeProvider
from workerpool_worker.runtime.database import create_tables, make_engine
from workerpool_worker.runtime.errors import PermanentError, ProviderTimeoutError, TransientError

pytestmark = pytest.mark.integration


@dataclass(frozen=True, kw_only=True)
class World:
    provider: PaymentProvider
    currency: str
    good: str
    declined: str
    confirm: str
    lost: str
    lose_charge: Callable[[], object]
    lose_refund: Callable[[], object]
    confirmed: Callable[[str], object]
    charges: Callable[[str], int]

    def charge(self, key: str = "p_1", amount: int = 1_000, token: str = "", *, again: bool = False) -> Charge:
        return self.provider.charge(
            key=key,
            amount_minor=amount,
            currency=self.currency,
            token=token or self.good,
            email="ada@example.org",
            asked_s=time.time() if again else None,
        )

    def refund(
        self, key: str, amount: int | None, payment: str = "p_1", *, asked_s: float | None = None
    ) -> RefundAnswer:
        return self.provider.refund(key=key, payment=payment, amount_minor=amount, asked_s=asked_s)

    def refunded(self, payment: str = "p_1") -> int:
        record = self.provider.lookup(payment)
        assert record is not None
        return record.refunded_minor


def _sandbox(folder: Path) -> Iterator[World]:
    engine = make_engine(f"sqlite:///{folder / 'sandbox.db'}")
    create_tables(engine)
    provider = SandboxProvider(engine=engine)

    def charges(payment: str) -> int:
        record = provider.lookup(payment)
        return int(record is not None and record.charge.status == "succeeded")

    yield World(
        provider=provider,
        currency="EUR",
        good="tok_visa",
        declined="tok_declined",
        confirm="tok_pending",
        lost="tok_lost_answer",
        lose_charge=lambda: None,
        lose_refund=lambda: None,
        confirmed=lambda payment: provider.settle(payment, "succeeded"),
        charges=charges,
    )
    engine.dispose()


def _stripe(_: Path) -> Iterator[World]:
    with (fake := FakeStripe()).web:
        yield World(
            provider=StripeProvider(api_key=STRIPE_KEY, api_url=fake.web.url, timeout_s=5),
            currency="EUR",
            good="tok_visa",
            declined="tok_chargeDeclined",
            confirm="tok_threeDSecureRequired",
            lost="tok_visa",
            lose_charge=lambda: fake.web.fail_next("lost", "POST", "/v1/payment_intents"),
            lose_refund=lambda: fake.web.fail_next("lost", "POST", "/v1/refunds"),
            confirmed=fake.confirm,
            charges=lambda payment: len(fake.succeeded(payment)),
        )


def _paystack(_: Path) -> Iterator[World]:
    with (fake := FakePaystack()).web:
        yield World(
            provider=PaystackProvider(secret_key=PAYSTACK_KEY, api_url=fake.web.url, timeout_s=5),
            currency="NGN",
            good="AUTH_good",
            declined="AUTH_declined",
            confirm="AUTH_confirm",
            lost="AUTH_good",
            lose_charge=lambda: fake.web.fail_next("lost", "POST", "/transaction/charge_authorization"),
            lose_refund=lambda: fake.web.fail_next("lost", "POST", "/refund"),
            confirmed=lambda payment: fake.confirm(payment.replace("_", "=")),
            charges=lambda payment: len(fake.succeeded(payment.replace("_", "="))),
        )


@pytest.fixture(params=[_sandbox, _stripe, _paystack], ids=["sandbox", "stripe", "paystack"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    yield from request.param(tmp_path)


def test_a_key_is_charged_once_and_has_one_answer(world: World) -> None:
    first = world.charge()
    assert (first.status, first.amount_minor, first.currency, first.reason) == (
        "succeeded", 1_000, world.currency, None,
    )  # fmt: skip
    again = world.charge(again=True)
    assert (again.id, again.status, again.amount_minor) == (first.id, "succeeded", 1_000)
    assert world.charges("p_1") == 1


def test_many_at_once_charge_once(world: World) -> None:
    together = threading.Barrier(6)

    def charge(_: int) -> str:
        together.wait(10)
        return world.charge().id

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(charge, range(6)))) == 1
    assert world.charges("p_1") == 1


def test_a_key_is_one_request(world: World) -> None:
    world.charge()
    with pytest.raises(PermanentError):
        world.charge(amount=1_001)
    assert world.charges("p_1") == 1


def test_declined_is_an_answer_and_stays_one(world: World) -> None:
    for again in (False, True):
        charge = world.charge(token=world.declined, again=again)
        assert charge.status == "declined"
        assert charge.reason
    record = world.provider.lookup("p_1")
    assert record is not None
    assert (record.charge.status, record.refunded_minor, record.left_minor) == ("declined", 0, 0)
    assert world.charges("p_1") == 0


def test_a_charge_whose_answer_was_lost_is_found_again(world: World) -> None:
    world.lose_charge()
    with pytest.raises(ProviderTimeoutError):
        world.charge(token=world.lost)
    assert world.charges("p_1") == 1
    assert world.charge(token=world.lost, again=True).status == "succeeded"
    assert world.charges("p_1") == 1


def test_an_unknown_payment_is_nothing(world: World) -> None:
    assert world.provider.lookup("nobody") is None
    assert world.provider.cancel("nobody") is None
    assert world.refund("r_1", 5, "nobody").status == "refused"


def test_refunds_are_parts_and_the_rest_and_never_more(world: World) -> None:
    world.charge()
    part = world.refund("r_1", 300)
    assert part.status in {"succeeded", "pending"}
    assert (part.amount_minor, world.refunded()) == (300, 300)
    more = world.refund("r_2", 701)
    assert (more.status, world.refunded()) == ("refused", 300)
    assert "700 left" in str(more.reason)
    rest = world.refund("r_3", None)
    assert (rest.amount_minor, world.refunded()) == (700, 1_000)
    assert world.refund("r_4", None).status == "refused"
    assert world.refunded() == 1_000


def test_a_refund_happens_once(world: World) -> None:
    world.charge()
    first = world.refund("r_1", 300)
    again = world.refund("r_1", 300, asked_s=time.time())
    assert (first.id, first.amount_minor) == (again.id, again.amount_minor)
    assert world.refunded() == 300


def test_a_refund_whose_answer_was_lost_is_found_again(world: World) -> None:
    world.charge()
    world.lose_refund()
    try:
        world.refund("r_1", 300)
    except ProviderTimeoutError:
        assert world.refund("r_1", 300, asked_s=time.time()).amount_minor == 300
    assert world.refunded() == 300


def test_nothing_is_given_back_of_what_was_declined(world: World) -> None:
    world.charge(token=world.declined)
    assert world.refund("r_1", None).status == "refused"


def test_pending_is_neither_paid_nor_declined_until_the_customer_confirms(world: World) -> None:
    charge = world.charge(token=world.confirm)
    assert (charge.status, charge.amount_minor, charge.currency) == ("pending", 1_000, world.currency)
    assert charge.reason
    with pytest.raises(TransientError):
        world.refund("r_1", None)
    world.confirmed("p_1")
    record = world.provider.lookup("p_1")
    assert record is not None
    assert (record.charge.status, record.left_minor) == ("succeeded", 1_000)
    cancelled = world.provider.cancel("p_1")
    assert cancelled is not None
    assert cancelled.charge.status == "succeeded"


def test_what_stays_pending_can_be_given_up(world: World) -> None:
    world.charge(token=world.confirm)
    record = world.provider.cancel("p_1")
    assert record is not None
    assert record.charge.status == "declined"
    assert world.charges("p_1") == 0
