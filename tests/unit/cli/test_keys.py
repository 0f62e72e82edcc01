"""`callboard keys`: what a new key allows, and that it is printed alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from callboard.storage.folder import FolderStore
from tests.support.api_in_process import Api, MakeApi
from tests.support.commands import NOWHERE, Commands, callboard


@pytest.fixture
async def api(make_api: MakeApi, tmp_path: Path) -> Api:
    """One with keys of its own."""
    return await make_api(store=FolderStore(tmp_path / "artifacts"))


async def test_a_new_key_is_the_only_output(cli: Commands):
    options = ("--scope", "runs:start", "--scope", "runs:read", "--project", "shop", "-p", "members")
    done = await cli("keys", "create", "import", *options, "--expires", "2099-01-31T00:00:00Z")
    (key,) = done.stdout.splitlines()
    (made,) = json.loads(await cli.said("keys", "list", "--json"))["keys"]
    assert key.startswith(f"{made['prefix']}_")
    assert f"Made key {made['id']}." in done.stderr
    assert (made["name"], set(made["scopes"])) == ("import", {"runs:start", "runs:read"})
    assert (set(made["projects"]), made["expiresAt"]) == ({"shop", "members"}, "2099-01-31T00:00:00Z")
    _, line = (await cli.said("keys", "list")).splitlines()
    assert line.split("  ")[0] == made["id"]
    for words in ("import", "members, shop", "2099-01-31T00:00:00Z", "never", "operator", "runs:start, runs:read"):
        assert words in line


@pytest.mark.parametrize("given", [timedelta(days=30), timedelta(hours=12), None])
async def test_an_end_may_be_a_duration(cli: Commands, given: timedelta | None):
    text = None if given is None else f"{given.days}d" if given.days else f"{given.seconds // 3600}h"
    options = () if text is None else ("--expires", text)
    made = json.loads(await cli.said("keys", "create", "import", "--scope", "jobs", "--json", *options))
    assert made["key"].startswith(made["prefix"])
    if given is None:
        assert (made["expiresAt"], made["projects"]) == (None, None)
        assert "  all  " in (await cli.said("keys", "list")).splitlines()[1]
    else:
        assert abs(datetime.fromisoformat(made["expiresAt"]) - datetime.now(UTC) - given) < timedelta(minutes=1)


@pytest.mark.parametrize("given", ["yesterday", "2027-01-31", "2027-01-31T00:00:00"])
def test_an_end_that_is_neither_a_duration_nor_a_time_is_refused(given: str):
    done = callboard("keys", "create", "import", "--scope", "jobs", "--expires", given, **NOWHERE)
    assert done.exit_code == 2
    assert "30d" in done.stderr


async def test_a_key_is_revoked_once_that_is_confirmed(api: Api, cli: Commands):
    await api.make_key("jobs")
    (made,) = json.loads(await cli.said("keys", "list", "--json"))["keys"]
    assert (await cli("keys", "revoke", made["id"], text="n\n")).exit_code == 1
    assert len((await cli.said("keys", "list")).splitlines()) == 2
    assert await cli.said("keys", "revoke", made["id"], "-y") == f"Revoked key {made['id']}.\n"
    assert len((await cli.said("keys", "list")).splitlines()) == 1
    assert (await cli.error("keys", "revoke", f"a/../{made['id']}", "-y"))[0] == 4
