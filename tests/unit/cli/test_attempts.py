"""`callboard attempts`: logs, traces and files, also where the connection breaks off."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from callboard.cli import logs
from callboard.schemas.errors import Unavailable
from callboard.schemas.workflow.attempt import RecordedFile
from callboard.storage import object_keys
from tests.support.api_in_process import Api
from tests.support.attempt_artifacts import attempt_record, store_artifact, store_record
from tests.support.commands import NOWHERE, Commands, callboard
from tests.unit.cli.conftest import Answer

LINES = [
    json.dumps(
        {"timestamp": f"2026-11-24T10:00:0{n}Z", "level": "info", "source": "print", "message": text},
        ensure_ascii=False,
    )
    for n, text in enumerate(["one", "two\u2028\u0085two", "three\x1b[31m"])
]


def events(first: int, *lines: str) -> bytes:
    return "".join(f"data: {line}\nid: {first + n}\n\n" for n, line in enumerate(lines)).encode()


async def test_the_latest_attempt_is_meant_if_none_is_named(api: Api, cli: Commands):
    run_id = await api.run()
    words = ("attempts", "get", run_id, "-p", "shop")
    assert await cli.error(*words) == (4, f"Run {run_id} has no Attempt yet.")
    for number in (1, 3):
        await store_record(api, attempt_record(run_id, number))
    assert json.loads(await cli.said(*words, "--json"))["number"] == 3


async def test_a_log_is_for_people_or_as_it_is_stored(api: Api, cli: Commands):
    run_id, whole = await api.run(), "\n".join([*LINES[1:], '{"timest'])  # of a worker that was killed while it wrote
    await store_record(api, attempt_record(run_id))
    await store_artifact(api, run_id, 1, "log.jsonl", whole.encode())
    words = ("attempts", "log", run_id, "1", "-p", "shop")
    assert (await cli.said(*words)).split("\n") == [
        "2026-11-24T10:00:01Z info print two\u2028two",
        "2026-11-24T10:00:02Z info print three",
        '{"timest',
        "",
    ]
    assert await cli.said(*words, "--json") == f"{whole}\n"


async def test_a_log_is_followed_until_its_attempt_has_ended(api: Api, cli: Commands, tmp_path: Path):
    run_id, text = await api.run(), "".join(f"{line}\n" for line in LINES)
    await store_record(api, attempt_record(run_id))
    await store_artifact(api, run_id, 1, "log.jsonl", text.encode())
    words = ("attempts", "log", run_id, "--follow", "-o", tmp_path / "log", "-p", "shop")
    assert await cli.said(*words) == f"{tmp_path / 'log'}\n"
    assert (tmp_path / "log").read_text(encoding="utf-8") == text


def test_a_log_is_followed_from_where_the_stream_broke_off(answer: Answer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(logs, "_RECONNECT_DELAY", 0.01)
    away = (503, {"code": "internal-server-error", "message": "Temporal cannot be reached."})
    asked = answer(
        (200, b": ping\n\n" + events(1, LINES[0])),
        away,
        away,
        (200, events(2, LINES[1]) + b"data: half of"),
        (200, events(3, LINES[2]) + b'event: end\ndata: {"status": "completed"}\nid: 3\n\n'),
    )
    done = callboard("attempts", "log", "r1", "1", "--follow", "--json", "-p", "shop", **NOWHERE)
    assert (done.exit_code, done.stdout) == (0, "".join(f"{line}\n" for line in LINES))
    assert [request.headers["last-event-id"] for request in asked] == ["0", "1", "1", "1", "2"]


async def test_nobody_follows_an_api_that_was_never_there(api: Api, cli: Commands):
    run_id = await api.run()
    api.runs.failure = Unavailable("Temporal cannot be reached.")
    assert await cli.error("attempts", "log", run_id, "1", "--follow", "-p", "shop") == (5, api.runs.failure.message)


@pytest.mark.parametrize("command", ["log", "trace"])
async def test_a_file_is_only_touched_by_what_is_there(api: Api, cli: Commands, tmp_path: Path, command: str):
    run_id, file, nowhere = await api.run(), tmp_path / "file", tmp_path / "no" / "file"
    words = ("attempts", command, run_id, "1", "-p", "shop", "-o")
    file.write_text("of before")
    assert (await cli.error(*words, file))[0] == 4
    assert file.read_text() == "of before"
    await store_record(api, attempt_record(run_id))
    await store_artifact(api, run_id, 1, {"log": "log.jsonl", "trace": "trace.zip"}[command], b"PK")
    assert await cli.said(*words, file) == f"{file}\n"
    assert file.read_text().startswith("PK")
    assert await cli.error(*words, nowhere) == (2, f"{nowhere} cannot be written: No such file or directory.")


async def test_a_trace_is_saved_where_no_version_of_a_project_holds_it(
    api: Api, cli: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    run_id = await api.run()
    await store_record(api, attempt_record(run_id))
    await store_artifact(api, run_id, 1, "trace.zip", b"PK")
    assert await cli.said("attempts", "trace", run_id, "-p", "shop") == f"output/trace_{run_id}_1.zip\n"
    assert [path.name for path in Path().iterdir()] == ["output"]


async def test_files_are_listed_or_written_below_the_folder_that_is_named(
    api: Api, cli: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    run_id = await api.run()
    file = RecordedFile(name="a/b.csv", size=3, content_type="text/csv", sha256="ab")
    await store_record(api, attempt_record(run_id, files=(file,)))
    await api.store.put(object_keys.file("shop", run_id, 1, 0), b"1,2")
    words = ("attempts", "files", run_id, "-p", "shop")
    assert [line.split() for line in (await cli.said(*words)).splitlines()] == [
        ["NAME", "BYTES", "TYPE", "SHA-256"],
        ["a/b.csv", "3", "text/csv", "ab"],
    ]
    assert [each["name"] for each in json.loads(await cli.said(*words, "--json"))["files"]] == ["a/b.csv"]
    assert list(Path().iterdir()) == []
    assert await cli.said(*words, "-o", "here") == "here/a/b.csv\n"
    assert Path("here/a/b.csv").read_bytes() == b"1,2"
