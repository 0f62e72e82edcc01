"""AuthSessions of the example project `orders` on a running stack, and the accounts of the example site behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from examples.site.accounts import ACCOUNTS
from tests.support.stack import Stack

PROJECT = "orders"


@dataclass(frozen=True)
class AuthStates:
    """The calls of docs/contract.md, section 7."""

    stack: Stack
    project: str = PROJECT

    async def request(self, method: str, place: str = "", **options: Any) -> httpx.Response:
        return await self.stack.request(method, f"auth-sessions/{place}", project=self.project, **options)

    def parameters(self, user: str, **changed: Any) -> dict[str, Any]:
        return {"baseUrl": self.stack.site, "user": user, "password": ACCOUNTS[user].password, **changed}

    async def create(self, name: str, user: str, **fields: Any) -> dict[str, Any]:
        """Create, and wait for how it ended."""
        return await self.operation("create", "create", {"id": name, "parameters": self.parameters(user), **fields})

    async def validate(self, name: str, **fields: Any) -> dict[str, Any]:
        place = f"{quote(name, safe='')}/validate"
        return await self.operation(f"{place}/start", place, fields)

    async def operation(self, start: str, result: str, body: dict[str, Any]) -> dict[str, Any]:
        return await self.stack.operation(start, result, body, project=self.project)

    async def status(self, name: str) -> str | None:
        """None: there is no such AuthSession."""
        answer = await self.request("GET", quote(name, safe=""))
        return None if answer.status_code == 404 else answer.json()["status"]

    async def delete(self, name: str) -> int:
        return (await self.request("DELETE", quote(name, safe=""))).status_code

    async def start(self, name: str, **fields: Any) -> str:
        """Start a Run with the AuthSession."""
        auth = {"id": name, **fields.pop("authSession", {})}
        parameters = {"baseUrl": self.stack.site}
        return await self.stack.start("list-orders", parameters, project=self.project, authSession=auth, **fields)

    async def run(self, name: str, **fields: Any) -> dict[str, Any]:
        return await self.stack.result(await self.start(name, **fields), project=self.project)

    # The site behind it.

    async def account(self, user: str) -> dict[str, Any]:
        """What the site says of an account: logins, failed logins, live sessions."""
        return (await self._site("GET", user)).json()

    async def cookies(self, user: str) -> list[str]:
        """The session cookies that the site has given out for an account."""
        return (await self._site("GET", f"{user}/cookies")).json()["cookies"]

    async def expire(self, user: str) -> None:
        await self._site("POST", f"{user}/expire")

    async def _site(self, method: str, place: str) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.request(method, f"{self.stack.site}/accounts/{place}")
        assert answer.is_success, answer.text
        return answer
