"""A worker that dies while somebody logs in, and a search for secrets in all that is left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.example_auth_sessions import AuthStates
from tests.support.files import contents
from tests.support.polling import until
from tests.support.stack import Stack

pytestmark = pytest.mark.timeout(240)


async def test_no_credential_and_no_cookie_is_anywhere(faulty: Stack) -> None:
    logins = AuthStates(faulty)
    for name, user in (("searched", "alice"), ("turning", "rotating")):
        assert (await logins.create(name, user, saveTrace=True))["status"] == "done"
        assert (await logins.run(name, authSession={"saveTrace": True}))["status"] == "completed"
    await logins.expire("alice")
    assert (await logins.run("searched", authSession={"saveTrace": True}))["status"] == "completed"
    guarded = AuthStates(faulty, "guarded")
    proxy = "http://somebody:the-password-of-a-proxy@127.0.0.1:9"
    refused = {"id": "refused", "parameters": {"password": "an-unusual-password", "fail": True}, "createAttempts": 1}
    answer = await guarded.operation("create", "create", {**refused, "proxy": proxy})
    assert answer["status"] == "failed"
    assert "***" in answer["error"]["message"]  # where user code said the password
    run_id = await faulty.start(
        "list-orders", {}, project="guarded", authSession={"runtimeInput": {"password": "of-a-single-run"}, "id": "one"}
    )
    await faulty.result(run_id, project="guarded")
    secrets = ["alice-keeps-bees", "rotating-doors-only", "an-unusual-password", "the-password-of-a-proxy"]
    secrets += [*await logins.cookies("alice"), *await logins.cookies("rotating")]
    assert len(secrets) > 8
    # What a Machine has of an Attempt that has just ended is gone in a moment.
    await until(lambda: not list(faulty.data.glob("workers/*/scratch/*/traces/*")))
    found = {
        (str(path.relative_to(faulty.data)), secret)
        for path in faulty.data.rglob("*")
        if path.is_file()
        for data in contents(path)
        for secret in secrets
        if secret.encode() in data or secret in path.name
    }
    assert not found
    traced = {kind for run in faulty.data.glob("artifacts/runs/orders/*") for kind in kinds_with_a_trace(run)}
    assert traced == {"api", "check", "create"}
    # The search looks where histories are: what is no secret is found there.
    assert [path for path in faulty.data.rglob("*") if path.is_file() and b"auth-session-create" in path.read_bytes()]


def kinds_with_a_trace(run: Path) -> list[str]:
    traces = run.glob("attempts/*/trace.zip")
    return [json.loads((trace.parent / "attempt.json").read_text())["kind"] for trace in traces]
