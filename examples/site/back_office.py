"""What demos and tests ask of the shop behind its pages: end sessions, lock accounts, read counters, open mail."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException

from examples.site.accounts import ACCOUNTS
from examples.site.logins import Logins


def _known(user: str) -> str:
    if user not in ACCOUNTS:
        raise HTTPException(404, f"There is no account {user}.")
    return user


_User = Annotated[str, Depends(_known)]


def routes(logins: Logins) -> APIRouter:
    """JSON below `/accounts/{user}`. Nobody is asked who they are: the site is served on loopback."""
    router = APIRouter(prefix="/accounts/{user}")

    @router.get("")
    async def account(user: _User) -> dict[str, Any]:
        record = logins.record(user)
        return {
            "user": user,
            "logins": record.logins,
            "failedLogins": record.failed,
            "liveSessions": logins.live(user),
        }

    @router.post("/expire")
    async def expire(user: _User) -> dict[str, int]:
        return {"expired": logins.expire(user)}

    @router.post("/lock", status_code=204)
    async def lock(user: _User) -> None:
        logins.lock(user)

    @router.post("/unlock", status_code=204)
    async def unlock(user: _User) -> None:
        logins.unlock(user)

    @router.get("/code")
    async def code(user: _User) -> dict[str, str]:
        sent = logins.code_of(user)
        if sent is None:
            raise HTTPException(404, f"No login of {user} waits for a code.")
        return {"code": sent}

    @router.get("/cookies")
    async def cookies(user: _User) -> dict[str, list[str]]:
        return {"cookies": list(logins.record(user).cookies)}

    return router
