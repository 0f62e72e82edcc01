"""What the members of the shop have ordered: the same every time, like the products."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from examples.site.accounts import ACCOUNTS
from examples.site.products import PRODUCTS, Product

PAGE_SIZE = 5
PER_ACCOUNT = 8
PAGES = -(-PER_ACCOUNT // PAGE_SIZE)


@dataclass(frozen=True, slots=True)
class Order:
    """One order of one product."""

    number: str
    day: date
    product: Product
    pieces: int

    @property
    def total(self) -> Decimal:
        """In euros."""
        return self.product.price * self.pieces


def _order(account: int, number: int) -> Order:
    product = PRODUCTS[(account * PER_ACCOUNT + number * 3) % len(PRODUCTS)]
    return Order(f"{account + 1}{number:03}", date(2026, 1, 5) + timedelta(weeks=number), product, 1 + number % 3)


ORDERS = {
    user: tuple(_order(account, number) for number in range(1, PER_ACCOUNT + 1))
    for account, user in enumerate(ACCOUNTS)
}


def page_of(user: str, number: int) -> tuple[Order, ...]:
    """The orders of page `number`, counted from 1."""
    return ORDERS[user][(number - 1) * PAGE_SIZE : number * PAGE_SIZE]
