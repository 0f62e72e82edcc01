"""`callboard authsessions`, as people type it, on the real stack."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.support.command_line import Command
from tests.support.example_auth_sessions import AuthStates
from tests.support.stack import Stack


@pytest.fixture
def logins(stack: Stack) -> AuthStates:
    return AuthStates(stack)


@pytest.fixture
def callboard(stack: Stack) -> Command:
    return Command(stack, "orders")


async def test_a_login_goes_through_its_life(callboard: Command, logins: AuthStates, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.json", json.dumps(logins.parameters("alice", password="wrong-for-sure"))
    good.write_text(json.dumps(logins.parameters("alice")))
    made = await callboard("authsessions", "create", "typed", "--input", f"@{good}", "--wait")
    assert made.out == "AuthSession typed is READY.\n"
    listed, shown = await asyncio.gather(
        callboard("authsessions", "list", "-f", "id=typed", "-f", "state=ready"),
        callboard("authsessions", "get", "typed", "--json"),
    )
    assert [line.split() for line in listed.out.splitlines()] == [
        ["AUTHSESSION", "TYPE", "STATUS"],
        ["typed", "CREDENTIALS", "READY"],
    ]
    nobody = {"heldBy": None, "waiting": 0}
    assert shown.json == {"id": "typed", "type": "CREDENTIALS", "status": "READY", "lease": nobody}
    valid = await callboard("authsessions", "validate", "typed", "--no-auto-recreate")
    assert valid.out == "AuthSession typed is READY.\n"
    failed = await callboard(
        "authsessions", "update", "typed", "--input", bad, "--create-attempts", "1", "--wait", code=1
    )
    assert failed.err.startswith("The operation is failed. create-attempts-failed: ")
    assert "wrong-for-sure" not in failed.err
    assert (await callboard("authsessions", "delete", "typed")).out == "Deleted AuthSession typed.\n"
    assert "no AuthSession 'typed'" in (await callboard("authsessions", "get", "typed", code=4)).err
