"""A shop's rush: orders, payments and welcome mails as they come mixed, the same ones for the same name."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from workerpool_worker.models import Job, Order, OrderLine, Payment, WelcomeEmail

STOCK_EACH = 1_000_000
"""What an article's shelf is filled to, where it holds too little for a rush."""

_ARTICLES = (
    ("espresso-cup", 1_190, "Espresso cup, porcelain"),
    ("moka-pot", 3_450, "Moka pot for three cups"),
    ("beans-250", 890, "Coffee beans, 250 g"),
    ("grinder", 8_900, "Hand grinder, steel burrs"),
    ("filter-100", 450, "Paper filters, 100 pieces"),
    ("kettle", 5_990, "Gooseneck kettle, 1 l"),
)
_FIRST = ("Ada", "Bruno", "Chiara", "Dmitri", "Elena", "Farid", "Grace", "Hugo", "Ines", "Jonas", "Kofi", "Lucia")
_LAST = ("Bianchi", "Castelli", "Diallo", "Evans", "Ferrari", "Keller", "Moreau", "Novak", "Okafor", "Rossi")


@dataclass(frozen=True, kw_only=True)
class Rush:
    """What is sent. Its ids are `{name}-1` for orders, `{name}-payment-1`, and `{name}-customer-1` for welcome mails.

    The name also seeds what is ordered and in which order all of it comes, so sending a rush again sends the same jobs.
    """

    name: str
    orders: int
    payments: int = 0
    welcomes: int = 0

    def jobs(self) -> list[Job]:
        """The jobs to send, mixed."""
        rng = random.Random(self.name)  # noqa: S311 - a shop's orders, no secret
        jobs: list[Job] = list(chain(self._orders(rng), self._payments(rng), self._welcomes()))
        rng.shuffle(jobs)
        return jobs

    @property
    def jobs_in_all(self) -> int:
        """Jobs done in the end: an order is four (itself, its payment, two mails), a payment two (with its receipt)."""
        return 4 * self.orders + 2 * self.payments + self.welcomes

    def _orders(self, rng: random.Random) -> Iterator[Order]:
        for number in range(1, self.orders + 1):
            lines = tuple(
                OrderLine(sku=sku, quantity=rng.randint(1, 3), unit_price_minor=price, description=description)
                for sku, price, description in rng.sample(_ARTICLES, rng.randint(1, 3))
            )
            customer, email = _customer(number)
            yield Order(id=f"{self.name}-{number}", customer=customer, email=email, lines=lines)

    def _payments(self, rng: random.Random) -> Iterator[Payment]:
        for number in range(1, self.payments + 1):
            customer, email = _customer(number)
            amount = rng.randint(500, 20_000)
            yield Payment(id=f"{self.name}-payment-{number}", amount_minor=amount, customer=customer, email=email)

    def _welcomes(self) -> Iterator[WelcomeEmail]:
        for number in range(1, self.welcomes + 1):
            customer, email = _customer(number)
            yield WelcomeEmail(id=f"{self.name}-customer-{number}", customer=customer, to=email)


def pieces(jobs: Iterable[Job]) -> dict[str, int]:
    """How many pieces of each article the orders among the jobs take."""
    wanted: Counter[str] = Counter()
    for job in jobs:
        if isinstance(job, Order):
            for line in job.lines:
                wanted[line.sku] += line.quantity
    return dict(sorted(wanted.items()))


def _customer(number: int) -> tuple[str, str]:
    first, last = _FIRST[number % len(_FIRST)], _LAST[number % len(_LAST)]
    return f"{first} {last}", f"{first}.{last}.{number}@example.org".lower()
