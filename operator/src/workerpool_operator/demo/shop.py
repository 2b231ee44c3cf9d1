"""The demo's shop: what it sells, who buys, and the orders of its rush hour."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from workerpool_worker.models import Order, OrderLine, WelcomeEmail

CATALOGUE = (
    ("espresso-cup", 1_190, "Espresso cup, porcelain"),
    ("moka-pot", 3_450, "Moka pot for three cups"),
    ("beans-250", 890, "Coffee beans, 250 g"),
    ("grinder", 8_900, "Hand grinder, steel burrs"),
    ("filter-100", 450, "Paper filters, 100 pieces"),
    ("kettle", 5_990, "Gooseneck kettle, 1 l"),
)
STOCK_EACH = 10_000
MAIL_DOMAIN = "moka.example"
MAIL_FROM = f"orders@{MAIL_DOMAIN}"
CUSTOMERS = ("Ada", "Bruno", "Chiara", "Dmitri", "Elena", "Farid", "Grace", "Hugo", "Ines", "Jonas", "Kofi", "Lucia")


@dataclass(frozen=True, kw_only=True, slots=True)
class Wave:
    """A burst of orders: ``orders`` of them placed evenly over ``over_s`` seconds, ``at_s`` after the demo's start."""

    name: str
    at_s: float
    orders: int
    over_s: float


RUSH_HOUR = (
    Wave(name="the doors open", at_s=4.0, orders=120, over_s=1.0),
    Wave(name="second wave", at_s=18.0, orders=80, over_s=5.0),
)


def customers() -> Iterator[tuple[str, str]]:
    """Names and addresses, round and round."""
    number = 0
    while True:
        name = CUSTOMERS[number % len(CUSTOMERS)]
        number += 1
        yield name, f"{name.lower()}.{number}@example.org"


def orders_of(wave: Wave, *, first: int, rng: random.Random) -> list[Order]:
    """The orders of a wave, numbered from ``first``; the same seed gives the same orders."""
    who = customers()
    return [_order(first + n, *next(who), rng) for n in range(wave.orders)]


def _order(number: int, name: str, address: str, rng: random.Random) -> Order:
    lines = tuple(
        OrderLine(sku=sku, quantity=rng.randint(1, 3), unit_price_minor=price, description=description)
        for sku, price, description in rng.sample(CATALOGUE, rng.randint(1, 3))
    )
    return Order(id=f"{number:05d}", customer=name, email=address, lines=lines)


def welcome_mails(count: int) -> list[WelcomeEmail]:
    """Mails to new customers: jobs that no other job asks for."""
    who = customers()
    pairs = [next(who) for _ in range(count)]
    return [WelcomeEmail(id=f"customer-{n + 1}", customer=name, to=address) for n, (name, address) in enumerate(pairs)]
