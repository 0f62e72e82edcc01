"""`callboard runs`: what it asks, and what it prints of the answers."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from callboard.cli import polling
from tests.support.fake_api import FakeApi

STARTED = (201, {"runId": "r1", "status": "pending"})
DONE = (200, {"runId": "r1", "status": "completed", "result": None})


def summary(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "runId": f"run-{number}",
        "type": "api",
        "status": "completed",
        "api": "list",
        "project": "shop",
        "attemptCount": 1,
        "createdAt": "2026-11-24T10:00:00.000000Z",
        "startedAt": "2026-11-24T10:00:00.100000Z",
        "endedAt": "2026-11-24T10:00:01.500000Z",
        "error": None,
        "reason": None,
        "attempts": [],
        **fields,
    }


def query_of(path: str) -> dict[str, list[str]]:
    return parse_qs(path.partition("?")[2])


@pytest.mark.parametrize("form", ["json", "@file", "file", "stdin"])
def test_a_body_is_json_a_file_or_what_comes_on_stdin(api: FakeApi, tmp_path: Path, form: str):
    body = {"api": "list", "parameters": {"text": "é"}}
    text = json.dumps(body, ensure_ascii=False)
    (tmp_path / "body.json").write_text(text, encoding="utf-8")
    given = {"json": text, "@file": f"@{tmp_path}/body.json", "file": f"{tmp_path}/body.json", "stdin": "-"}[form]
    api.answers = [STARTED]
    done = api.callboard("runs", "start", given, "--idempotency-key", "once", "-p", "shop", text=text)
    assert (done.exit_code, done.stdout) == (0, "r1\n")
    assert (api.asked[0].path, api.asked[0].body) == ("projects/shop/run/start", body)
    assert api.asked[0].headers["idempotency-key"] == "once"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        *(([text], "BODY") for text in ("", "{", "[1]", "nothing", "@nothing", "x" * 5000, "{} hunter2")),
        (["{}", "--idempotency-key", "é"], "--idempotency-key"),
    ],
)
def test_what_is_no_body_and_no_key_is_told_and_not_shown(api: FakeApi, given: list[str], told: str):
    code, sentence = api.error("runs", "start", *given, "-p", "shop")
    assert (code, sentence.startswith(told), "hunter2" in sentence) == (2, True, False)
    assert api.asked == []


@pytest.mark.parametrize("result", [None, 2**70, "\ud83d", "é 漢", {"a": [1.5, "\x1b[31m\x9b\u202e\u2066"]}])
def test_a_result_is_printed_as_json_whatever_it_is(api: FakeApi, result: Any):
    api.answers = [(200, {"runId": "r1", "status": "completed", "result": result})]
    done = api.callboard("runs", "result", "r1", "-p", "shop")
    assert done.exit_code == 0
    assert json.loads(done.stdout) == result
    assert not set("\x1b\x9b\u202e\u2066") & set(done.stdout)


def test_tags_of_options_join_those_of_the_body(api: FakeApi):
    api.answers = [(201, {"runId": "run-1", "status": "pending"})]
    body = '{"api": "list", "parameters": {}, "tags": ["a"]}'
    done = api.callboard("runs", "start", body, "--tag", "b", "--tag", "c", "-p", "shop")
    assert done.exit_code == 0, done.output
    assert api.asked[0].body["tags"] == ["a", "b", "c"]


def test_filters_are_those_of_the_api_in_whatever_spelling(api: FakeApi):
    api.answers = [(200, {"runs": [], "nextCursor": None})]
    filters = ["status=FAILED", "status = canceled", "api_name=a/b", "run_type=API", "authSession=Anna"]
    found = ["error_code=script-timeout", "q=V1", "tag=a"]
    times = ["started_at>=2026-11-24T10:00:00+01:00", "startedBefore=2026-11-25T10:00:00Z"]
    done = api.callboard(
        "runs",
        "list",
        *(word for each in (*filters, *found, *times) for word in ("-f", each)),
        "-p",
        "shop",
        "--tag",
        "b",
    )
    assert done.exit_code == 0, done.output
    assert query_of(api.asked[0].path) == {
        "status": ["failed", "canceled"],
        "api": ["a/b"],
        "type": ["api"],
        "authSession": ["Anna"],
        "errorCode": ["script-timeout"],
        "q": ["V1"],
        "tag": ["a", "b"],
        "startedAfter": ["2026-11-24T10:00:00+01:00"],
        "startedBefore": ["2026-11-25T10:00:00Z"],
        "limit": ["50"],
    }


@pytest.mark.parametrize("given", ["status", "run_duration>5000", "status!=failed", "=x"])
def test_a_filter_that_is_none_is_told(api: FakeApi, given: str):
    code, sentence = api.error("runs", "list", "-f", given, "-p", "shop")
    assert code == 2
    assert sentence.startswith(f"-f {given}: ")
    assert api.asked == []


def test_a_long_list_comes_in_pages_and_says_where_it_goes_on(api: FakeApi):
    api.answers = [
        (200, {"runs": [summary(number) for number in range(150)], "nextCursor": "c1"}),
        (200, {"runs": [], "nextCursor": "c2"}),
        (200, {"runs": [summary(number) for number in range(150, 300)], "nextCursor": "c3"}),
    ]
    done = api.callboard("runs", "list", "-l", "300", "-p", "shop")
    assert done.exit_code == 0, done.output
    assert [query_of(asked.path)["limit"] for asked in api.asked] == [["200"], ["150"], ["150"]]
    assert [query_of(asked.path).get("cursor") for asked in api.asked] == [None, ["c1"], ["c2"]]
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == [f"run-{number}" for number in range(300)]
    assert "--cursor c3" in done.stderr


def test_a_narrow_terminal_shows_reasons_below_their_rows(api: FakeApi):
    error = {"code": "api-attempts-failed", "message": "KeyError: 'url' (api/missing.py:2) and more"}
    runs = [summary(1, runId="x" * 21, api="list-products", status="failed", error=error), summary(2)]
    api.answers = [(200, {"runs": runs, "nextCursor": None})]
    done = api.callboard("runs", "list", "-p", "shop", COLUMNS="80", TTY_COMPATIBLE="1", NO_COLOR="1")
    head, below, failed, reason, completed = re.sub(r"\x1b\[\d*m", "", done.stdout).splitlines()
    assert (head.split()[0], below, completed.split()[0]) == ("RUN", "    REASON", "run-2")
    assert (failed.split()[0], reason) == ("x" * 21, f"    {error['message']}")
    wide = api.callboard("runs", "list", "-p", "shop", COLUMNS="140", TTY_COMPATIBLE="1", NO_COLOR="1")
    assert re.search(f"x{{21}} .* {re.escape(error['message'])}", wide.stdout)


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (
            {"status": "failed", "error": {"code": "unexpected", "message": "It found no Machine."}},
            "The Run failed. unexpected: It found no Machine.\nSee: callboard runs get r1 -p shop\n",
        ),
        (
            {"status": "canceled", "reason": {"type": "cancelled-user-action", "message": "Somebody did it."}},
            "The Run was canceled. cancelled-user-action: Somebody did it.\n",
        ),
    ],
)
def test_why_there_is_no_result_is_said(api: FakeApi, end: dict[str, Any], said: str):
    api.answers = [(200, {"runId": "r1", **end})]
    assert api.callboard("runs", "result", "r1", "-p", "shop").stderr == said


def test_what_pages_and_user_code_have_said_does_nothing_to_a_terminal(api: FakeApi):
    message = "\x1b]0;owned\x07\x1b[2mTime\u202e\u061c\u200f\u2069out\x1b[22m 30 s\r\nCall log: …"
    error = {"code": "api-attempts-failed", "message": message}
    api.answers = [(200, {"runs": [summary(1, status="failed", error=error)], "nextCursor": None})]
    listed = api.callboard("runs", "list", "-p", "shop").stdout
    assert listed.splitlines()[1].endswith("1.4 s     ]0;ownedTimeout 30 s")
    api.answers = [(200, {"runId": "r1", "status": "failed", "error": error})]
    failed = api.callboard("runs", "result", "r1", "-p", "shop")
    assert failed.exit_code == 1
    assert not set("\x1b\x07\r\u202e\u061c\u200f\u2069") & set(failed.stderr)


def test_waiting_goes_on_when_the_api_is_away_for_a_while(api: FakeApi, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(polling, "_POLL_SECONDS", 0.01)
    away = (503, {"code": "internal-server-error", "message": "Temporal cannot be reached."})
    pending = (200, {"runId": "r1", "status": "pending"})
    api.answers = [STARTED, away, away, pending, away, DONE]
    done = api.callboard("runs", "start", "{}", "--wait", "-p", "shop")
    assert (done.exit_code, done.stdout) == (0, "null\n")
    assert done.stderr.count("Temporal cannot be reached. Retrying") == 2
    assert len(api.asked) == 6
    api.answers = [away]
    assert api.error("runs", "result", "r1", "--wait", "-p", "shop") == (5, "Temporal cannot be reached.")
    assert len(api.asked) == 7, "nobody waits for one that was never there"


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        ("canceled", 0, "Run r1 is canceled.\n"),
        ("completed", 0, "Run r1 has already ended: completed.\n"),
        ("started", 1, "Run r1 is being canceled and has not ended yet.\n"),
    ],
)
def test_cancel_says_what_has_become_of_the_run(api: FakeApi, status: str, code: int, said: str):
    api.answers = [(200, {"runId": "r1", "status": status})]
    done = api.callboard("runs", "cancel", "r1", "--wait", "5", "-p", "shop")
    assert (done.exit_code, done.output) == (code, said)
    assert api.asked[0].path == "projects/shop/run/r1/cancel?wait=5.0"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder, which is the current one."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "Intuned.jsonc").write_text("{}")
    monkeypatch.chdir(tmp_path / "shop")
    return tmp_path / "shop"


PULLED = ".parameters/api/deep/list/r1.json"


def test_pull_writes_the_parameters_where_run_takes_them(api: FakeApi, shop: Path, monkeypatch: pytest.MonkeyPatch):
    api.answers = [(200, {**summary(1), "api": "deep/list", "input": {"parameters": {"text": "é"}}})]
    done = api.callboard("runs", "pull", "r1")
    assert (done.exit_code, done.stdout) == (0, f"{PULLED}\n")
    assert done.stderr == f"Start it here: callboard run api deep/list @{PULLED}\n"
    assert json.loads((shop / PULLED).read_text()) == {"text": "é"}
    assert api.asked[0].path == "projects/shop/runs/r1"
    monkeypatch.chdir(shop.parent)
    done = api.callboard("runs", "pull", "r1", "--project-dir", "shop", "-p", "other")
    assert done.stderr == f"Start it here: callboard run api deep/list @shop/{PULLED} --project-dir shop\n"
    assert api.asked[1].path == "projects/other/runs/r1"


def test_pull_brings_the_files_of_the_last_attempt_and_none_that_leads_elsewhere(api: FakeApi, shop: Path):
    files = [{"name": "downloads/a b.csv"}, {"name": "../../../escaped"}]
    attempts = [{"number": 1, "files": [{"name": "old"}]}, {"number": 2, "files": files[:1]}]
    run = {**summary(1), "api": "list", "input": {"parameters": {}}, "attempts": attempts}
    api.answers = [(200, run), (200, b"a,b")]
    file = "output/r1/downloads/a b.csv"
    assert api.callboard("runs", "pull", "r1").stdout == f".parameters/api/list/r1.json\n{file}\n"
    assert (shop / file).read_bytes() == b"a,b"
    assert api.asked[-1].path == "projects/shop/runs/r1/attempts/2/files/downloads/a%20b.csv"
    api.answers = [(200, {**run, "attempts": [{"number": 1, "files": files[1:]}]})]
    refused = "output/r1/../../../escaped is not below output/r1, so it was not written."
    assert str(api.callboard("runs", "pull", "r1").exception) == refused
    (shop / "output/r1/link").symlink_to(shop.parent)
    api.answers = [(200, {**run, "attempts": [{"number": 1, "files": [{"name": "link/escaped"}]}]})]
    assert str(api.callboard("runs", "pull", "r1").exception).startswith("output/r1/link/escaped is not below")
    assert [path.name for path in shop.parent.iterdir()] == ["shop"]


def test_pull_overwrites_no_file_that_was_changed(api: FakeApi, shop: Path):
    api.answers = [(200, {**summary(1), "api": "deep/list", "input": {"api": "deep/list"}})]
    assert api.callboard("runs", "pull", "r1").exit_code == 0
    assert (shop / PULLED).read_text() == "null\n"
    (shop / PULLED).write_text("[]")
    code, sentence = api.error("runs", "pull", "r1")
    assert (code, sentence.startswith(f"{PULLED} was changed")) == (2, True)
    assert (shop / PULLED).read_text() == "[]"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"type": "auth-session-create", "api": None}, "Run r1 is of a login"),
        ({"api": "../../deploy"}, ".parameters/api/../../deploy/r1.json is not below"),
    ],
)
def test_pull_writes_no_login_and_nothing_elsewhere(api: FakeApi, shop: Path, fields: dict[str, Any], said: str):
    api.answers = [(200, {**summary(1), "input": {"parameters": {"password": "x"}}, **fields})]
    code, sentence = api.error("runs", "pull", "r1")
    assert (code, sentence.startswith(said)) == (2, True)
    assert [path.name for path in shop.iterdir()] == ["Intuned.jsonc"]


def test_rows_come_in_the_form_that_is_wanted(api: FakeApi, tmp_path: Path):
    api.answers = [(200, {"columns": [], "rows": []})]
    assert api.callboard("runs", "rows", "run-1", "-p", "shop").stdout == '{"columns": [], "rows": []}'
    out = tmp_path / "rows.csv"
    done = api.callboard("runs", "rows", "run-1", "--format", "csv", "--raw", "-o", str(out), "-p", "shop")
    assert (done.exit_code, done.stdout) == (0, f"{out}\n")
    assert out.read_bytes() == b'{"columns": [], "rows": []}'
    paths = [asked.path for asked in api.asked]
    assert paths == [f"projects/shop/runs/run-1/rows?format={each}" for each in ("json", "csv&raw=true")]


BULK = {"id": "b1", "action": "rerun", "matched": 3, "createdAt": "2026-11-24T10:00:00Z", "endedAt": None}


def test_many_runs_are_started_again_and_those_that_could_not_be_are_told(api: FakeApi):
    failed = [{"runId": "r2", "message": "Project shop has no API 'gone'.\x1b[31m"}]
    api.answers = [
        (202, {"id": "b1", "matched": 3}),
        (200, {**BULK, "status": "running", "done": 1, "failedCount": 0, "failed": []}),
        (200, {**BULK, "status": "completed", "done": 1, "failedCount": 2, "failed": failed}),
    ]
    filters = ("-f", "status=FAILED", "-f", "run_id=r1", "-f", "run_id=r2", "-f", "q=r")
    done = api.callboard("runs", "bulk", "rerun", *filters, "-p", "shop")
    asked = [(each.method, each.path, each.body) for each in api.asked]
    wanted = {"status": ["failed"], "runId": ["r1", "r2"], "q": "r"}
    assert asked[0] == ("POST", "projects/shop/runs/bulk/rerun", {"filter": wanted, "dryRun": False})
    assert asked[1:] == [("GET", "projects/shop/runs/bulk/b1", None)] * 2
    assert done.exit_code == 1
    assert "1 of 3 Runs started again: completed." in done.stdout
    assert "r2" in done.stdout
    assert "\x1b" not in done.stdout
    assert "1 more could not be." in done.stderr


def test_many_runs_are_counted_or_left_to_the_api(api: FakeApi):
    api.answers = [(200, {"matched": 7})]
    assert api.callboard("runs", "bulk", "cancel", "-f", "tag=a", "--dry-run", "-p", "shop").stdout == "7 Runs match.\n"
    api.answers = [(202, {"id": "b1", "matched": 7})]
    once = ("--idempotency-key", "once")
    assert api.callboard("runs", "bulk", "cancel", "-f", "tag=a", "--detach", *once, "-p", "shop").stdout == "b1\n"
    assert api.asked[1].headers["idempotency-key"] == "once"
    assert [each.body["dryRun"] for each in api.asked] == [True, False]
    assert api.callboard("runs", "bulk", "abort", "b1", "-p", "shop").exit_code == 0
    assert (api.asked[-1].method, api.asked[-1].path) == ("POST", "projects/shop/runs/bulk/b1/abort")


def test_many_runs_need_a_filter(api: FakeApi):
    code, sentence = api.error("runs", "bulk", "cancel", "-p", "shop")
    assert (code, "Say which Runs" in sentence, api.asked) == (2, True, [])
