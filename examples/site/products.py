"""What the shop sells: the same 50 products every time, so that results can be compared."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from decimal import Decimal

PAGE_SIZE = 10

_KINDS = ("Lamp", "Chair", "Table", "Shelf", "Clock", "Mirror", "Rug", "Vase", "Bench", "Stool")
_STYLES = ("Oak", "Birch", "Copper", "Linen", "Slate")


@dataclass(frozen=True, slots=True)
class Product:
    """One thing to buy."""

    id: int
    name: str
    price: Decimal
    """In euros."""
    stock: int
    """Pieces."""


def _product(number: int) -> Product:
    style, kind = _STYLES[(number - 1) // len(_KINDS)], _KINDS[(number - 1) % len(_KINDS)]
    return Product(number, f"{style} {kind}", Decimal(1990 + 735 * number) / 100, number * 7 % 23)


PRODUCTS = tuple(_product(number) for number in range(1, len(_KINDS) * len(_STYLES) + 1))
PAGES = len(PRODUCTS) // PAGE_SIZE


def page_of(number: int) -> tuple[Product, ...]:
    """The products of page `number`, counted from 1."""
    return PRODUCTS[(number - 1) * PAGE_SIZE : number * PAGE_SIZE]


def catalogue() -> str:
    """All products as CSV, with a header."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["id", "name", "price", "stock"])
    rows.writerows([product.id, product.name, f"{product.price:.2f}", product.stock] for product in PRODUCTS)
    return text.getvalue()
