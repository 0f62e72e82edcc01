"""`callboard authsessions`: what it sends where, and what it says of the answer."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_api import KEY, FakeApi

STATE = {"cookies": [], "origins": []}
MADE = {"id": "anna", "type": "RECORDER", "status": "READY"}
GONE = {"code": "unexpected", "message": "It is gone."}
PLACE = "projects/orders/auth-sessions"


@pytest.fixture
def state_file(tmp_path: Path) -> Path:
    file = tmp_path / "state.json"
    file.write_text(json.dumps(STATE))
    return file


def test_import_sends_the_state_and_says_how_the_auth_session_stands(api: FakeApi, state_file: Path):
    api.answers = [(201, MADE)]
    done = api.callboard("authsessions", "import", state_file, "--id", "anna", "-p", "orders")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "AuthSession anna (RECORDER) is READY.\n", "")
    assert api.callboard("authsessions", "import", "-", "--project", "orders", text=json.dumps(STATE)).exit_code == 0
    assert {(asked.method, asked.path, asked.key) for asked in api.asked} == {("POST", f"{PLACE}/import", KEY)}
    assert [asked.body for asked in api.asked] == [{"state": STATE, "id": "anna"}, {"state": STATE}]


def test_get_says_who_uses_the_login_alone(api: FakeApi):
    api.answers = [(200, {**MADE, "lease": {"heldBy": "run-1", "waiting": 2}})]
    assert "Used by      run-1 alone; 2 wait\n" in api.callboard("authsessions", "get", "anna", "-p", "orders").stdout


def test_a_file_that_is_no_json_is_told_without_what_it_holds(api: FakeApi, state_file: Path):
    state_file.write_text("password=hunter2")
    code, sentence = api.error("authsessions", "import", state_file, "-p", "orders")
    assert code == 2
    assert f"{state_file} is not JSON" in sentence
    assert "hunter2" not in sentence
    code, sentence = api.error("authsessions", "import", state_file.with_name("nope"), "-p", "orders")
    assert (code, "No such file" in sentence) == (2, True)
    assert api.asked == []


def test_create_sends_what_is_given_and_nothing_else(api: FakeApi):
    api.answers = [(201, {"status": "started", "operationId": "op"})]
    options = ["--input", '{"user": "anna"}', "--proxy", "http://proxy:8080", "--check-attempts", "2"]
    done = api.callboard("authsessions", "create", "anna", *options, "-p", "orders")
    assert (done.exit_code, done.stdout) == (0, "op\n")
    assert api.asked[0].path == f"{PLACE}/create"
    body = {"parameters": {"user": "anna"}, "id": "anna", "proxy": "http://proxy:8080", "checkAttempts": 2}
    assert api.asked[0].body == body


def test_record_says_where_to_log_in_and_waits(api: FakeApi):
    page = "https://callboard.example.com/projects/orders/auth-sessions/record/op"
    started, done = {"status": "started", "operationId": "op", "url": page}, {"status": "done", "authSessionId": "anna"}
    for options, path, body in (
        (["anna", "--start-url", "https://shop.example"], "record", {"id": "anna", "startUrl": "https://shop.example"}),
        (["anna", "--renew"], "anna/record", {}),
    ):
        api.answers = [(201, started), (200, done)]
        recorded = api.callboard("authsessions", "record", *options, "-p", "orders")
        assert (recorded.exit_code, recorded.stdout) == (0, "AuthSession anna is READY.\n")
        assert page in recorded.stderr
        assert (api.asked[-2].path, api.asked[-2].body) == (f"{PLACE}/{path}", body)
        assert api.asked[-1].path == f"{PLACE}/record/op/result"
    code, sentence = api.error("authsessions", "record", "--renew", "-p", "orders")
    assert (code, "needs the ID" in sentence) == (2, True)


@pytest.mark.parametrize(
    ("end", "code", "said"),
    [
        ({"status": "done", "authSessionId": "an/na"}, 0, "AuthSession an/na is READY."),
        ({"status": "failed", "message": "m", "error": GONE}, 1, "The operation is failed. unexpected: It is gone."),
        (
            {"status": "canceled", "message": "m", "reason": {"type": "terminated", "message": "Somebody did."}},
            *(3, "The operation is canceled. terminated: Somebody did."),
        ),
        (
            {"status": "in_progress", "runId": "r"},
            *(1, "Operation op is still in_progress after 1 second, and continues."),
        ),
    ],
)
def test_validate_waits_and_ends_as_it_does(api: FakeApi, end: dict[str, str], code: int, said: str):
    api.answers = [(201, {"status": "pending", "operationId": "op"}), (200, {"status": "pending"}), (200, end)]
    done = api.callboard("authsessions", "validate", "an/na", "--no-auto-recreate", "--timeout", "1s", "-p", "orders")
    assert (done.exit_code, done.output) == (code, f"{said}\n")
    assert api.asked[0].path == f"{PLACE}/an%2Fna/validate/start"
    assert api.asked[0].body == {"autoRecreate": False}
    assert api.asked[-1].path == f"{PLACE}/an%2Fna/validate/op/result"
    refused = api.callboard("authsessions", "validate", "anna", "--timeout", "soon", "-p", "orders")
    assert (refused.exit_code, "90s" in refused.stderr) == (2, True)


def test_a_login_that_could_not_be_made_is_listed_with_error_and_run(api: FakeApi):
    def created(name: str, status: str, at: str, **fields: str | None) -> dict[str, Any]:
        failed = {"code": "create-attempts-failed", "message": "The site refuses it."} if status == "failed" else None
        run = {"runId": f"run-{at}", "authSessionId": name, "status": status, "createdAt": at, "error": failed}
        return {**run, "parentRunId": None, **fields}

    runs = [
        created("eve", "failed", "3"),
        created("eve", "failed", "1"),
        created("anna", "failed", "2"),
        created("gone", "completed", "2"),
        created("gone", "failed", "1"),
        created("one-run's", "failed", "1", parentRunId="another"),
    ]
    api.answers = [(200, [MADE]), (200, {"runs": runs, "nextCursor": None})]
    said = api.callboard("authsessions", "list", "-p", "orders").stdout
    rows = [line.split(maxsplit=2) for line in said.splitlines() if "run-" in line]
    assert rows == [["eve", "run-3", "create-attempts-failed: The site refuses it."]]
    api.answers = [(200, [MADE]), (403, {"code": "forbidden", "message": "No."})]
    listed = api.callboard("authsessions", "list", "-p", "orders")
    assert (listed.exit_code, "does not have the scope runs:read" in listed.stderr) == (0, True)


def test_a_list_has_only_what_the_filters_let_through(api: FakeApi):
    api.answers = [(200, [{"id": name, "type": "CREDENTIALS", "status": "READY"} for name in ("anna", "bert", "carl")])]
    filters = ["-f", "id=anna", "-f", "ID=carl", "-f", "state=ready"]
    listed = api.callboard("authsessions", "list", *filters, "-p", "orders", "--json")
    assert [each["id"] for each in json.loads(listed.stdout)] == ["anna", "carl"]
    code, sentence = api.error("authsessions", "list", "-f", "created_at>2026", "-p", "orders")
    assert (code, sentence) == (2, "-f created_at>2026: expected one of status=, state=, type=, id=.")
