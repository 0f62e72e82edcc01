"""What an automation may return: anything that has a JSON form, dataclasses among it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from intuned_runtime import extend_payload, extend_timeout
from playwright.async_api import Page


@dataclass
class Product:
    name: str
    price: float
    tags: tuple[str, ...]


async def automation(page: Page, params: Any = None, **_kwargs: Any) -> dict[str, Any]:
    extend_timeout()
    extend_payload({"api": "remember", "parameters": {"name": "from-results"}})
    return {"product": Product("Lamp", 27.25, ("oak", "lamp")), "pair": (1, 2)}
