"""`callboard keys`: what it sends, and that a new key is printed alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.fake_api import FakeApi

MADE: dict[str, Any] = {
    "id": "4kTz0cQw9LmB",
    "prefix": "cb_4kTz0cQw9LmB",
    "name": "import",
    "scopes": ["runs:start", "runs:read"],
    "projects": ["shop"],
    "createdAt": "2026-11-24T10:00:00Z",
    "createdBy": {"id": "operator-3fa94c21", "name": "operator"},
    "expiresAt": None,
    "lastUsedAt": None,
}
KEY = "cb_4kTz0cQw9LmB_" + 43 * "x"


def test_a_new_key_is_the_only_output(api: FakeApi):
    api.answers = [(201, {**MADE, "key": KEY})]
    options = ("--scope", "runs:start", "--scope", "runs:read", "--project", "shop", "-p", "members")
    done = api.callboard("keys", "create", "import", *options, "--expires", "2027-01-31T00:00:00Z")
    assert (done.exit_code, done.stdout) == (0, f"{KEY}\n")
    assert "4kTz0cQw9LmB" in done.stderr
    (asked,) = api.asked
    assert (asked.method, asked.path) == ("POST", "keys")
    assert asked.body == {
        "name": "import",
        "scopes": ["runs:start", "runs:read"],
        "projects": ["shop", "members"],
        "expiresAt": "2027-01-31T00:00:00Z",
    }


@pytest.mark.parametrize(
    ("given", "ends_in"), [("30d", timedelta(days=30)), ("12h", timedelta(hours=12)), (None, None)]
)
def test_an_end_may_be_a_duration(api: FakeApi, given: str | None, ends_in: timedelta | None):
    api.answers = [(201, {**MADE, "key": KEY})]
    options = () if given is None else ("--expires", given)
    done = api.callboard("keys", "create", "import", "--scope", "jobs", "--json", *options)
    assert json.loads(done.stdout) == {**MADE, "key": KEY}
    body = api.asked[0].body
    assert body.keys() == {"name", "scopes", "expiresAt"} - ({"expiresAt"} if given is None else set())
    if ends_in is not None:
        assert abs(datetime.fromisoformat(body["expiresAt"]) - datetime.now(UTC) - ends_in) < timedelta(minutes=1)


@pytest.mark.parametrize("given", ["yesterday", "2027-01-31", "2027-01-31T00:00:00"])
def test_an_end_that_is_neither_a_duration_nor_a_time_is_refused(api: FakeApi, given: str):
    done = api.callboard("keys", "create", "import", "--scope", "jobs", "--expires", given)
    assert done.exit_code == 2
    assert "30d" in done.stderr
    assert api.asked == []


def test_keys_are_listed_with_what_they_allow(api: FakeApi):
    everything = {**MADE, "id": "000000000000", "projects": None, "expiresAt": "2027-01-31T00:00:00Z"}
    api.answers = [(200, {"keys": [MADE, everything]})]
    lines = api.callboard("keys", "list").stdout.splitlines()
    assert lines[1].split("  ")[0] == "4kTz0cQw9LmB"
    assert [word in lines[1] for word in ("import", "shop", "never", "operator", "runs:start, runs:read")] == [True] * 5
    assert "all" in lines[2]
    assert "2027-01-31T00:00:00Z" in lines[2]
    assert json.loads(api.callboard("keys", "list", "--json").stdout) == {"keys": [MADE, everything]}


def test_a_key_is_revoked_once_that_is_confirmed(api: FakeApi):
    api.answers = [(204, b"")]
    assert api.callboard("keys", "revoke", "4kTz0cQw9LmB", text="n\n").exit_code == 1
    assert api.asked == []
    done = api.callboard("keys", "revoke", "a/../b", "-y")
    assert (done.exit_code, done.stdout) == (0, "Revoked key a/../b.\n")
    assert (api.asked[0].method, api.asked[0].path) == ("DELETE", "keys/a%2F..%2Fb")


def test_a_refusal_names_the_scope(api: FakeApi):
    message = "This needs the scope keys, which your key does not have."
    api.answers = [(403, {"code": "forbidden", "message": message, "details": {"scope": "keys"}})]
    assert api.error("keys", "list") == (1, message)
