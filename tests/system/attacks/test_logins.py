"""A login reaches no Attempt that was started with another one."""

from __future__ import annotations

import pytest

from tests.support.polling import until
from tests.system.attacks.installation import Installation

PROJECT = "members"


async def log_in(installation: Installation, user: str) -> None:
    """Make the AuthSession of a user, whose id is their name."""
    place = f"{installation.path(PROJECT)}/auth-sessions/create"
    order = {"id": user, "parameters": {"user": user, "password": f"secret-of-{user}"}}
    answer = await installation.api.post(place, json=order)
    assert answer.status_code == 201, answer.text
    result = f"{place}/{answer.json()['operationId']}/result"

    async def is_done() -> bool:
        told = (await installation.api.get(result)).json()
        assert told["status"] in {"pending", "started", "in_progress", "done"}, told
        return told["status"] == "done"

    await until(is_done, every=0.1)


@pytest.mark.kinds("plain-full", "plain-open", "root-full")
async def test_an_attempt_finds_no_login_but_its_own(installation: Installation) -> None:
    """On one Machine, wherever the Attempts before it have kept theirs: in memory, files, libraries, the browser."""
    for user in ("anna", "bob"):
        await log_in(installation, user)
    for user in ("anna", "bob", "anna"):
        found = await installation.attack("keeps", project=PROJECT, authSession={"id": user})
        assert found == {"before": [user], "after": [user]}
