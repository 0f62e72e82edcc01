"""`callboard attempts`: logs and traces, also where the connection breaks off."""

import json
from pathlib import Path

import pytest

from callboard.cli import logs
from tests.support.fake_api import FakeApi

LINES = [
    json.dumps(
        {"timestamp": f"2026-11-24T10:00:0{n}Z", "level": "info", "source": "print", "message": text},
        ensure_ascii=False,
    )
    for n, text in enumerate(["one", "two\u2028\u0085two", "three\x1b[31m"])
]
RUN = (200, {"attempts": [{"number": 1}, {"number": 3}]})


def events(first: int, *lines: str) -> bytes:
    return "".join(f"data: {line}\nid: {first + n}\n\n" for n, line in enumerate(lines)).encode()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_RECONNECT_DELAY", 0.01)


def test_the_latest_attempt_is_meant_if_none_is_named(api: FakeApi):
    api.answers = [RUN, (200, {"number": 3})]
    assert json.loads(api.callboard("attempts", "get", "r1", "--json", "-p", "shop").stdout) == {"number": 3}
    assert api.asked[1].path == "projects/shop/runs/r1/attempts/3"
    api.answers = [(200, {"attempts": []})]
    assert api.error("attempts", "get", "r1", "-p", "shop") == (4, "Run r1 has no Attempt yet.")


def test_a_log_is_for_people_or_as_it_is_stored(api: FakeApi):
    whole = "\n".join([*LINES[1:], '{"timest'])  # of a worker that was killed while it wrote
    api.answers = [(200, whole.encode())]
    said = api.callboard("attempts", "log", "r1", "1", "-p", "shop").stdout.split("\n")
    assert said == [
        "2026-11-24T10:00:01Z info print two\u2028two",
        "2026-11-24T10:00:02Z info print three",
        '{"timest',
        "",
    ]
    assert api.callboard("attempts", "log", "r1", "1", "--json", "-p", "shop").stdout == f"{whole}\n"


def test_a_log_is_followed_from_where_the_stream_broke_off(api: FakeApi, tmp_path: Path):
    away = (503, {"code": "internal-server-error", "message": "Temporal cannot be reached."})
    end = b'event: end\ndata: {"status": "completed"}\nid: 3\n\n'
    api.answers = [
        (200, b": ping\n\n" + events(1, LINES[0])),
        away,
        away,
        (200, events(2, LINES[1]) + b"data: half of"),
        (200, events(3, LINES[2]) + end),
    ]
    done = api.callboard("attempts", "log", "r1", "1", "--follow", "-o", tmp_path / "log", "-p", "shop")
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path / 'log'}\n")
    assert (tmp_path / "log").read_text(encoding="utf-8") == "".join(f"{line}\n" for line in LINES)
    assert [asked.headers["last-event-id"] for asked in api.asked] == ["0", "1", "1", "1", "2"]
    assert {asked.path for asked in api.asked} == {"projects/shop/runs/r1/attempts/1/log?follow=true"}


def test_nobody_follows_an_api_that_was_never_there(api: FakeApi):
    api.answers = [(503, {"code": "internal-server-error", "message": "Temporal cannot be reached."})]
    assert api.error("attempts", "log", "r1", "1", "--follow", "-p", "shop") == (5, "Temporal cannot be reached.")


@pytest.mark.parametrize("command", ["log", "trace"])
def test_a_file_is_only_touched_by_what_is_there(api: FakeApi, tmp_path: Path, command: str):
    file = tmp_path / "file"
    file.write_text("of before")
    api.answers = [(404, {"code": "not-found", "message": "Attempt 1 of Run r1 has left none."})]
    assert api.error("attempts", command, "r1", "1", "-o", file, "-p", "shop")[0] == 4
    assert file.read_text() == "of before"
    api.answers = [(200, b"PK")]
    assert api.callboard("attempts", command, "r1", "1", "-o", file, "-p", "shop").stdout == f"{file}\n"
    assert file.read_text().startswith("PK")
    code, sentence = api.error("attempts", command, "r1", "1", "-o", tmp_path / "no" / "file", "-p", "shop")
    assert (code, sentence) == (2, f"{tmp_path / 'no' / 'file'} cannot be written: No such file or directory.")


def test_a_trace_is_saved_where_no_version_of_a_project_holds_it(
    api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    api.answers = [(200, b"PK")]
    assert api.callboard("attempts", "trace", "r1", "1", "-p", "shop").stdout == "output/trace_r1_1.zip\n"
    assert [path.name for path in tmp_path.iterdir()] == ["output"]


def test_files_are_listed_or_written_below_the_folder_that_is_named(
    api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    file = {"name": "a/b.csv", "size": 3, "contentType": "text/csv", "sha256": "ab", "url": None, "expiresAt": None}
    api.answers = [(200, {"files": [file]})]
    listed = api.callboard("attempts", "files", "r1", "1", "-p", "shop").stdout
    assert [line.split() for line in listed.splitlines()] == [
        ["NAME", "BYTES", "TYPE", "SHA-256"],
        ["a/b.csv", "3", "text/csv", "ab"],
    ]
    assert json.loads(api.callboard("attempts", "files", "r1", "1", "--json", "-p", "shop").stdout) == {"files": [file]}
    assert list(tmp_path.iterdir()) == []
    api.answers = [(200, {"files": [file]}), (200, b"1,2")]
    assert api.callboard("attempts", "files", "r1", "1", "-o", "here", "-p", "shop").stdout == "here/a/b.csv\n"
    assert (tmp_path / "here/a/b.csv").read_bytes() == b"1,2"
