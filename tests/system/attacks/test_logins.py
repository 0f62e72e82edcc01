"""A login reaches no Attempt that was started with another one."""

from __future__ import annotations

import pytest

from tests.system.attacks.installation import Installation

PROJECT = "members"


async def log_in(installation: Installation, user: str) -> None:
    """Make the AuthSession of a user, whose id is their name."""
    order = {"id": user, "parameters": {"user": user, "password": f"secret-of-{user}"}}
    told = await installation.rest.operation("create", "create", order, project=PROJECT)
    assert told["status"] == "done", told


@pytest.mark.kinds("plain-full", "plain-open", "root-full")
async def test_an_attempt_finds_no_login_but_its_own(installation: Installation) -> None:
    """On one Machine, wherever the Attempts before it have kept theirs: in memory, files, libraries, the browser."""
    for user in ("anna", "bob"):
        await log_in(installation, user)
    for user in ("anna", "bob", "anna"):
        found = await installation.attack("keeps", project=PROJECT, authSession={"id": user})
        assert found == {"before": [user], "after": [user]}


@pytest.mark.kinds("plain-full", "root-full")
async def test_contexts_that_an_attempt_was_opening_as_it_ended_are_not_seen(installation: Installation) -> None:
    for user in ("carol", "dave"):
        await log_in(installation, user)
    for user in ("carol", "dave", "carol"):
        seen = await installation.attack("opens", project=PROJECT, authSession={"id": user})
        assert set(seen) == {f"secret-of-{user}"}
