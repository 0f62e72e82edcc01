"""`callboard authsessions`: what it has done, and what it says of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from callboard.cli import polling
from callboard.schemas.workflow.auth_session import LeaseView
from callboard.schemas.workflow.run import RunCause, RunOutcome, RunStatus, RunType
from callboard.temporal.listing import RunPage
from callboard.temporal.runs import RunState
from tests.support.api_in_process import Api
from tests.support.commands import NOWHERE, Commands, callboard, error_of
from tests.support.in_memory_temporal import BEGAN, line
from tests.support.polling import until

STATE = {"cookies": [], "origins": []}
ERROR = {"code": "unexpected", "category": "auth", "message": "It is gone.", "retirable": False, "details": {}}
REASON = {"type": "terminated", "message": "Somebody did."}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "_POLL_SECONDS", 0.01)


@pytest.fixture
def state_file(tmp_path: Path) -> Path:
    file = tmp_path / "state.json"
    file.write_text(json.dumps(STATE))
    return file


async def test_import_takes_a_file_or_stdin_and_says_how_the_auth_session_stands(
    api: Api, cli: Commands, state_file: Path
):
    words = ("authsessions", "import")
    said = await cli.said(*words, state_file, "--id", "anna", "-p", "recorded")
    assert said == "AuthSession anna (RECORDER) is READY.\n"
    said = await cli.said(*words, "-", "--project", "recorded", text=json.dumps(STATE))
    assert said.endswith(" (RECORDER) is READY.\n")
    assert len(api.auth_sessions.known) == 2


async def test_get_says_who_uses_the_login_alone(api: Api, cli: Commands):
    api.add_auth_session(lease=LeaseView(holder="run-1", waiting=2))
    assert "Used by      run-1 alone; 2 wait\n" in await cli.said("authsessions", "get", "anna", "-p", "members")


def test_a_file_that_is_no_json_is_told_without_what_it_holds(state_file: Path):
    state_file.write_text("password=hunter2")
    code, sentence = error_of(callboard("authsessions", "import", state_file, "-p", "recorded", **NOWHERE))
    assert (code, f"{state_file} is not JSON" in sentence, "hunter2" in sentence) == (2, True, False)
    nope = state_file.with_name("nope")
    code, sentence = error_of(callboard("authsessions", "import", nope, "-p", "recorded", **NOWHERE))
    assert (code, "No such file" in sentence) == (2, True)


async def test_create_asks_for_what_is_given(api: Api, cli: Commands):
    options = ["--input", '{"user": "anna"}', "--proxy", "http://proxy:8080", "--check-attempts", "2"]
    said = await cli.said("authsessions", "create", "anna", *options, "-p", "members")
    (created,) = api.auth_sessions.created
    login = created.create
    assert login is not None
    assert said == f"{login.run_id}\n"
    assert (created.ref.id, login.create_attempts, login.check_attempts) == ("anna", 3, 2)
    assert login.proxy is not None
    assert login.proxy.server == "http://proxy:8080"


async def test_record_says_where_to_log_in_and_waits(api: Api, cli: Commands):
    async def log_in(run_id: str) -> None:
        done = RunOutcome(status=RunStatus.COMPLETED)
        kind = RunType.AUTH_SESSION_RECORD
        api.runs.logins["recorded", run_id] = RunState(run_id, RunStatus.COMPLETED, done, kind, "anna")

    async def make() -> None:
        (made,) = await until(lambda: api.auth_sessions.created)
        assert made.create is not None
        assert made.create.start_url == "https://9.9.9.9"
        await log_in(made.create.run_id)

    async def renew() -> None:
        (update,) = await until(lambda: api.auth_sessions.updates)
        await log_in(update.run_id)

    async def said(*options: str, person: Callable[[], Awaitable[None]]) -> None:
        done, _ = await asyncio.gather(cli("authsessions", "record", "anna", *options, "-p", "recorded"), person())
        assert (done.exit_code, done.stdout) == (0, "AuthSession anna is READY.\n"), done.output
        assert f"Log in here: {cli.url}/" in done.stderr

    await said("--start-url", "https://9.9.9.9", person=make)
    api.add_auth_session("anna", "recorded", type="RECORDER", start_url="https://9.9.9.9")
    await said("--renew", person=renew)
    code, sentence = await cli.error("authsessions", "record", "--renew", "-p", "recorded")
    assert (code, "needs the ID" in sentence) == (2, True)


@pytest.mark.parametrize(
    ("status", "end", "code", "said"),
    [
        (RunStatus.COMPLETED, {}, 0, "AuthSession anna@home is READY."),
        (RunStatus.FAILED, {"error": ERROR}, 1, "The operation is failed. unexpected: It is gone."),
        (RunStatus.CANCELED, {"reason": REASON}, 3, "The operation is canceled. terminated: Somebody did."),
        (RunStatus.STARTED, None, 1, "Operation {} is still in_progress after 1 second, and continues."),
    ],
)
async def test_validate_waits_and_ends_as_it_does(
    api: Api, cli: Commands, status: RunStatus, end: dict[str, Any] | None, code: int, said: str
):
    api.add_auth_session("anna@home")

    async def run() -> str:
        ((run_id, asked),) = (await until(lambda: api.auth_sessions.validates)).items()
        assert not asked.auto_recreate
        outcome = None if end is None else RunOutcome.model_validate({"status": status, **end})
        api.runs.logins["members", run_id] = RunState(
            run_id, status, outcome, RunType.AUTH_SESSION_VALIDATE, "anna@home"
        )
        return run_id

    words = ("authsessions", "validate", "anna@home", "--no-auto-recreate", "--timeout", "1s", "-p", "members")
    done, run_id = await asyncio.gather(cli(*words), run())
    assert (done.exit_code, done.output) == (code, f"{said.format(run_id)}\n")


def test_a_time_that_is_none_is_refused():
    refused = callboard("authsessions", "validate", "anna", "--timeout", "soon", "-p", "members", **NOWHERE)
    assert (refused.exit_code, "90s" in refused.stderr) == (2, True)


async def test_a_login_that_could_not_be_made_is_listed_with_error_and_run(api: Api, cli: Commands):
    refused = RunCause(code="create-attempts-failed", message="The site refuses it.")

    def created(name: str, status: RunStatus, hour: int, **fields: str) -> Any:
        cause = refused if status is RunStatus.FAILED else None
        at, kind = BEGAN + timedelta(hours=hour), RunType.AUTH_SESSION_CREATE
        known: dict[str, Any] = {"auth_session_id": name, "status": status, "created_at": at, "cause": cause}
        return line(f"run-{hour}", type=kind, api=None, **known, **fields)

    api.add_auth_session("anna", "shop")
    runs = (
        created("eve", RunStatus.FAILED, 3),
        created("eve", RunStatus.FAILED, 1),
        created("anna", RunStatus.FAILED, 2),
        created("gone", RunStatus.COMPLETED, 2),
        created("gone", RunStatus.FAILED, 1),
        created("one-run's", RunStatus.FAILED, 1, parent_run_id="another"),
    )
    api.run_queries.answer = RunPage(runs, None)
    said = await cli.said("authsessions", "list", "-p", "shop")
    rows = [text.split(maxsplit=2) for text in said.splitlines() if "run-" in text]
    assert rows == [["eve", "run-3", "create-attempts-failed: The site refuses it."]]
    assert api.run_queries.asked[0][0].types == {RunType.AUTH_SESSION_CREATE}
    key = await api.make_key("authsessions")
    listed = await cli("authsessions", "list", "-p", "shop", CALLBOARD_API_KEY=key)
    assert (listed.exit_code, "does not have the scope runs:read" in listed.stderr) == (0, True), listed.output


async def test_a_list_has_only_what_the_filters_let_through(api: Api, cli: Commands):
    for name in ("anna", "bert", "carl"):
        api.add_auth_session(name)
    filters = ["-f", "id=anna", "-f", "ID=carl", "-f", "state=ready"]
    listed = await cli.said("authsessions", "list", *filters, "-p", "members", "--json")
    assert [each["id"] for each in json.loads(listed)] == ["anna", "carl"]
    code, sentence = await cli.error("authsessions", "list", "-f", "created_at>2026", "-p", "members")
    assert (code, sentence) == (2, "-f created_at>2026: expected one of status=, state=, type=, id=.")
