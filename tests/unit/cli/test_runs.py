"""`callboard runs`: what it asks of an api, and what it prints of the answers."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from callboard.cli import polling, runs
from callboard.schemas.workflow.attempt import RecordedFile
from callboard.schemas.workflow.auth_session import CreateInput
from callboard.schemas.workflow.bulk import BulkFailure
from callboard.schemas.workflow.run import ErrorCode, ReasonType, RunCause, RunError, RunOutcome, RunReason, RunStatus
from callboard.storage import object_keys
from callboard.temporal.listing import RunFilter, RunPage
from callboard.temporal.runs import RunState
from tests.support.api_in_process import Api
from tests.support.attempt_artifacts import attempt_record, store_record
from tests.support.commands import NOWHERE, Commands, callboard, error_of
from tests.support.constants import WORKSPACE
from tests.support.delivery_inputs import json_text
from tests.support.in_memory_temporal import line
from tests.support.polling import until
from tests.unit.cli.conftest import Answer

HOSTILE = "\x1b]0;owned\x07\x1b[2mTime\u202e\u061c\u200f\u2069out\x1b[22m 30 s\r\nCall log: …"
"""What a page or user code may say, to change what a terminal shows."""


def completed(result: Any) -> RunOutcome:
    return RunOutcome(status=RunStatus.COMPLETED, result=json_text(result))


def failed(code: ErrorCode, message: str) -> RunOutcome:
    error = {"code": code, "category": "execution", "message": message, "retirable": False, "details": {}}
    return RunOutcome(status=RunStatus.FAILED, error=RunError.model_validate(error))


@pytest.mark.parametrize("form", ["json", "@file", "file", "stdin"])
async def test_a_body_is_json_a_file_or_what_comes_on_stdin(cli: Commands, tmp_path: Path, form: str):
    text = json.dumps({"api": "list", "parameters": {"text": "é"}}, ensure_ascii=False)
    (tmp_path / "body.json").write_text(text, encoding="utf-8")
    given = {"json": text, "@file": f"@{tmp_path}/body.json", "file": f"{tmp_path}/body.json", "stdin": "-"}[form]
    words = ("runs", "start", given, "--idempotency-key", "once", "-p", "shop")
    run_id = (await cli.said(*words, text=text)).removesuffix("\n")
    assert json.loads(cli.api.input_of(run_id).parameters.text or "") == {"text": "é"}
    assert await cli.said(*words, text=text) == f"{run_id}\n", "the key is sent"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        *(([text], "BODY") for text in ("", "{", "[1]", "nothing", "@nothing", "x" * 5000, "{} hunter2")),
        (["{}", "--idempotency-key", "é"], "--idempotency-key"),
    ],
)
def test_what_is_no_body_and_no_key_is_told_and_not_shown(given: list[str], told: str):
    code, sentence = error_of(callboard("runs", "start", *given, "-p", "shop", **NOWHERE))
    assert (code, sentence.startswith(told), "hunter2" in sentence) == (2, True, False)


async def test_a_result_is_printed_as_json_whatever_it_is(api: Api, cli: Commands):
    for result in (None, 2**70, "\ud83d", "é 漢", {"a": [1.5, "\x1b[31m\x9b\u202e\u2066"]}):
        run_id = await api.run()
        api.runs.end(run_id, completed(result))
        said = await cli.said("runs", "result", run_id, "-p", "shop")
        assert json.loads(said) == result
        assert not set("\x1b\x9b\u202e\u2066") & set(said)


async def test_tags_of_options_join_those_of_the_body(api: Api, cli: Commands):
    body = '{"api": "list", "parameters": {}, "tags": ["a"]}'
    run_id = await cli.said("runs", "start", body, "--tag", "b", "--tag", "c", "-p", "shop")
    assert api.input_of(run_id.strip()).tags == ("a", "b", "c")


async def test_filters_are_those_of_the_api_in_whatever_spelling(api: Api, cli: Commands):
    filters = ["status=FAILED", "status = canceled", "api_name=a/b", "run_type=API", "authSession=Anna"]
    filters += ["error_code=script-timeout", "q=V1", "tag=a"]
    filters += ["started_at>=2026-11-24T10:00:00+01:00", "startedBefore=2026-11-25T10:00:00Z"]
    await cli.said("runs", "list", *(word for each in filters for word in ("-f", each)), "-p", "shop", "--tag", "b")
    ((asked, limit, _),) = api.run_queries.asked
    assert limit == 50
    assert asked == RunFilter(
        statuses=frozenset({RunStatus.FAILED, RunStatus.CANCELED}),
        apis=frozenset({"a/b"}),
        types=asked.types,
        auth_sessions=frozenset({"Anna"}),
        error_codes=frozenset({ErrorCode.SCRIPT_TIMEOUT}),
        tags=frozenset({"a", "b"}),
        id_prefix="V1",
        created_after=datetime(2026, 11, 24, 9, tzinfo=UTC),
        created_before=datetime(2026, 11, 25, 10, tzinfo=UTC),
    )
    assert asked.types == {"api"}


@pytest.mark.parametrize("given", ["status", "run_duration>5000", "status!=failed", "=x"])
def test_a_filter_that_is_none_is_told(given: str):
    code, sentence = error_of(callboard("runs", "list", "-f", given, "-p", "shop", **NOWHERE))
    assert code == 2
    assert sentence.startswith(f"-f {given}: ")


async def test_a_long_list_comes_in_pages_and_says_where_it_goes_on(
    api: Api, cli: Commands, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(runs, "_PAGE", 2)
    api.run_queries.answer = RunPage(tuple(line(f"run-{number}") for number in range(5)), None)
    done = await cli("runs", "list", "-l", "3", "-p", "shop")
    assert [limit for _, limit, _ in api.run_queries.asked] == [2, 1]
    assert [row.split()[0] for row in done.stdout.splitlines()[1:]] == ["run-0", "run-1", "run-2"]
    cursor = done.stderr.split("--cursor ")[1].strip()
    rest = json.loads(await cli.said("runs", "list", "--cursor", cursor, "--json", "-p", "shop"))
    assert [run["runId"] for run in rest["runs"]] == ["run-3", "run-4"]
    assert rest["nextCursor"] is None


async def test_a_narrow_terminal_shows_reasons_below_their_rows(api: Api, cli: Commands):
    cause = RunCause(code="api-attempts-failed", message="KeyError: 'url' (api/missing.py:2) and more")
    bad = line("x" * 21, api="list-products", status=RunStatus.FAILED, cause=cause)
    api.run_queries.answer = RunPage((bad, line("run-2", status=RunStatus.COMPLETED)), None)
    terminal = {"TTY_COMPATIBLE": "1", "NO_COLOR": "1"}
    narrow = await cli.said("runs", "list", "-p", "shop", COLUMNS="80", **terminal)
    head, below, row, reason, other = re.sub(r"\x1b\[\d*m", "", narrow).splitlines()
    assert (head.split()[0], below, other.split()[0]) == ("RUN", "    REASON", "run-2")
    assert (row.split()[0], reason) == ("x" * 21, f"    {cause.message}")
    wide = await cli.said("runs", "list", "-p", "shop", COLUMNS="140", **terminal)
    assert re.search(f"x{{21}} .* {re.escape(cause.message)}", wide)


async def test_why_there_is_no_result_is_said(api: Api, cli: Commands):
    broken, ended = await api.run(), await api.run()
    api.runs.end(broken, failed(ErrorCode.INTERNAL_SERVER_ERROR, "It found no Machine."))
    reason = RunReason(type=ReasonType.CANCELLED_USER_ACTION, message="Somebody did it.")
    api.runs.end(ended, RunOutcome(status=RunStatus.CANCELED, reason=reason))
    done = await cli("runs", "result", broken, "-p", "shop")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        f"The Run failed. internal-server-error: It found no Machine.\nSee: callboard runs get {broken} -p shop\n"
    )
    done = await cli("runs", "result", ended, "-p", "shop")
    assert (done.exit_code, done.stderr) == (3, "The Run was canceled. cancelled-user-action: Somebody did it.\n")


async def test_what_pages_and_user_code_have_said_does_nothing_to_a_terminal(api: Api, cli: Commands):
    cause = RunCause(code="api-attempts-failed", message=HOSTILE)
    api.run_queries.answer = RunPage((line("run-1", status=RunStatus.FAILED, cause=cause),), None)
    listed = await cli.said("runs", "list", "-p", "shop")
    assert listed.splitlines()[1].endswith(" ]0;ownedTimeout 30 s")
    run_id = await api.run()
    api.runs.end(run_id, failed(ErrorCode.API_ATTEMPTS_FAILED, HOSTILE))
    done = await cli("runs", "result", run_id, "-p", "shop")
    assert done.exit_code == 1
    assert not set("\x1b\x07\r\u202e\u061c\u200f\u2069") & set(done.stderr)


def test_waiting_goes_on_when_the_api_is_away_for_a_while(answer: Answer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(polling, "_POLL_SECONDS", 0.01)
    away = (503, {"code": "internal-server-error", "message": "Temporal cannot be reached."})
    started = (201, {"runId": "r1", "status": "pending"})
    pending, done = ((200, {"runId": "r1", "status": word, "result": None}) for word in ("pending", "completed"))
    asked = answer(started, away, away, pending, away, done)
    waited = callboard("runs", "start", "{}", "--wait", "-p", "shop", **NOWHERE)
    assert (waited.exit_code, waited.stdout, len(asked)) == (0, "null\n", 6)
    assert waited.stderr.count("Temporal cannot be reached. Retrying") == 2
    asked = answer(away)
    gone = error_of(callboard("runs", "result", "r1", "--wait", "-p", "shop", **NOWHERE))
    assert (*gone, len(asked)) == (5, "Temporal cannot be reached.", 1), "nobody waits for one that was never there"


async def test_a_run_is_waited_for(api: Api, cli: Commands):
    async def end() -> None:
        await until(lambda: api.runs.waiting)
        (run_id,) = api.runs.entries
        api.runs.end(run_id, completed([1]))

    body = json.dumps({"api": "list", "parameters": {}})
    said, _ = await asyncio.gather(cli.said("runs", "start", body, "--wait", "-p", "shop"), end())
    assert json.loads(said) == [1]


async def test_cancel_says_what_has_become_of_the_run(api: Api, cli: Commands, monkeypatch: pytest.MonkeyPatch):
    run_id, ended, slow = [await api.run() for _ in range(3)]
    api.runs.end(ended, completed(1))
    assert await cli.said("runs", "cancel", run_id, "-p", "shop") == f"Run {run_id} is canceled.\n"
    assert await cli.said("runs", "cancel", ended, "-p", "shop") == f"Run {ended} has already ended: completed.\n"

    async def cancel(*run: str, **_by: Any) -> RunState:
        return await api.runs.get_state(*run)

    monkeypatch.setattr(api.runs, "cancel", cancel)
    done = await cli("runs", "cancel", slow, "--wait", "0", "-p", "shop")
    assert (done.exit_code, done.stderr) == (1, f"Run {slow} is being canceled and has not ended yet.\n")


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder, which is the current one."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "Intuned.jsonc").write_text("{}")
    monkeypatch.chdir(tmp_path / "shop")
    return tmp_path / "shop"


async def test_pull_writes_the_parameters_where_run_takes_them(
    api: Api, cli: Commands, shop: Path, monkeypatch: pytest.MonkeyPatch
):
    run_id = await api.run(api="products/details", parameters={"text": "é"})
    pulled = f".parameters/api/products/details/{run_id}.json"
    done = await cli("runs", "pull", run_id)
    assert (done.exit_code, done.stdout) == (0, f"{pulled}\n")
    assert done.stderr == f"Start it here: callboard run api products/details @{pulled}\n"
    assert json.loads((shop / pulled).read_text()) == {"text": "é"}
    (shop / pulled).write_text("[]")
    code, sentence = await cli.error("runs", "pull", run_id)
    assert (code, sentence.startswith(f"{pulled} was changed")) == (2, True)
    assert (shop / pulled).read_text() == "[]"
    (shop / "Intuned.jsonc").write_text('{"projectName": "other"}')
    (shop / pulled).unlink()
    monkeypatch.chdir(shop.parent)
    assert (await cli("runs", "pull", run_id, "--project-dir", "shop")).exit_code != 0
    done = await cli("runs", "pull", run_id, "--project-dir", "shop", "-p", "shop")
    assert done.stderr == f"Start it here: callboard run api products/details @shop/{pulled} --project-dir shop\n"


async def test_pull_brings_the_files_of_the_last_attempt_and_none_that_leads_elsewhere(
    api: Api, cli: Commands, shop: Path
):
    async def left(number: int, *names: str) -> None:
        files = [RecordedFile(name=name, size=3, content_type="text/csv", sha256="ab") for name in names]
        await store_record(api, attempt_record(run_id, number, files=tuple(files)))
        for index, name in enumerate(names):
            await api.store.put(object_keys.file("shop", run_id, number, index), name.encode())

    run_id = await api.run()
    await left(1, "old")
    await left(2, "downloads/a b.csv")
    folder = f"output/{run_id}"
    file = f"{folder}/downloads/a b.csv"
    assert await cli.said("runs", "pull", run_id) == f".parameters/api/list/{run_id}.json\n{file}\n"
    assert (shop / file).read_bytes() == b"downloads/a b.csv"
    await left(3, "../../../escaped")
    refused = f"{folder}/../../../escaped is not below {folder}, so it was not written."
    assert str((await cli("runs", "pull", run_id)).exception) == refused
    (shop / folder / "link").symlink_to(shop.parent)
    await left(4, "link/escaped")
    assert str((await cli("runs", "pull", run_id)).exception).startswith(f"{folder}/link/escaped is not below")
    assert [path.name for path in shop.parent.iterdir() if path.name != "artifacts"] == ["shop"]


async def test_pull_writes_no_login_and_nothing_elsewhere(api: Api, cli: Commands, shop: Path):
    run_id = await api.run()
    entry = api.runs.entries[run_id]
    entry.input = entry.input.model_copy(update={"api": "../../deploy"})
    code, sentence = await cli.error("runs", "pull", run_id)
    assert (code, sentence.split(" is not below")[0]) == (2, f".parameters/api/../../deploy/{run_id}.json")
    login = {"id": "anna", "parameters": {"password": "x"}}
    made = await api.ask("auth-sessions/create", "members", method="POST", status=201, json=login)
    run_id = made["operationId"]
    (created,) = api.auth_sessions.created
    assert created.create is not None
    api.run_queries.inputs[run_id] = CreateInput(
        workspace=WORKSPACE, project="members", ref=created.ref, spec=created.create, login_version=1
    )
    api.runs.logins["members", run_id] = RunState(run_id, RunStatus.PENDING, None, created.create.type, "anna")
    code, sentence = await cli.error("runs", "pull", run_id, "-p", "members")
    assert (code, sentence.startswith(f"Run {run_id} is of a login")) == (2, True)
    assert [path.name for path in shop.iterdir()] == ["Intuned.jsonc"]


async def test_rows_come_in_the_form_that_is_wanted(api: Api, cli: Commands, tmp_path: Path):
    run_id = await api.run()
    api.runs.end(run_id, completed([{"a": "=1"}]))
    words = ("runs", "rows", run_id, "-p", "shop")
    assert json.loads(await cli.said(*words)) == {"columns": ["a"], "rows": [{"a": "=1"}]}
    out = tmp_path / "rows.csv"
    for options, text in (((), "a\r\n'=1\r\n"), (("--raw",), "a\r\n=1\r\n")):
        assert await cli.said(*words, "--format", "csv", *options, "-o", out) == f"{out}\n"
        assert out.read_bytes().decode() == text


async def test_many_runs_are_started_again_and_those_that_could_not_be_are_told(
    api: Api, cli: Commands, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(polling, "_POLL_SECONDS", 0.01)
    runs = [line(f"r{number}", status=RunStatus.FAILED) for number in (1, 2, 3)]
    api.run_queries.answer = RunPage(tuple(runs), None)

    async def end() -> None:
        await until(lambda: api.bulks.started)
        api.bulks.end(done=1, failed=2, failures=(BulkFailure(run_id="r2", message="There is no API.\x1b[31m"),))

    filters = ("-f", "status=FAILED", "-f", "run_id=r1", "-f", "run_id=r2", "-f", "run_id=r3", "-f", "q=r")
    done, _ = await asyncio.gather(cli("runs", "bulk", "rerun", *filters, "-p", "shop"), end())
    (asked, *_), (bulk,) = api.run_queries.asked[0], api.bulks.started
    assert (asked.statuses, asked.run_ids, asked.id_prefix) == ({"failed"}, {"r1", "r2", "r3"}, "r")
    assert (bulk.view.action, bulk.run_ids) == ("rerun", ("r1", "r2", "r3"))
    assert done.exit_code == 1
    assert "1 of 3 Runs started again: completed." in done.stdout
    assert "r2" in done.stdout
    assert "\x1b" not in done.stdout
    assert "1 more could not be." in done.stderr


async def test_many_runs_are_counted_or_left_to_the_api(api: Api, cli: Commands):
    api.run_queries.answer = RunPage((line("r1", tags=("a",)), line("r2", tags=("a",))), None)
    words = ("runs", "bulk", "cancel", "-f", "tag=a", "-p", "shop")
    assert await cli.said(*words, "--dry-run") == "2 Runs match.\n"
    assert api.bulks.started == []
    detached = (*words, "--detach", "--idempotency-key", "once")
    bulk_id = (await cli.said(*detached)).strip()
    assert await cli.said(*detached) == f"{bulk_id}\n", "the key is sent"
    assert [bulk.bulk_id for bulk in api.bulks.started] == [bulk_id]
    await cli.said("runs", "bulk", "abort", bulk_id, "-p", "shop")
    assert list(api.bulks.aborted) == [bulk_id]


def test_many_runs_need_a_filter():
    code, sentence = error_of(callboard("runs", "bulk", "cancel", "-p", "shop", **NOWHERE))
    assert (code, "Say which Runs" in sentence) == (2, True)
