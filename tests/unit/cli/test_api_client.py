"""Which API a command calls, with which key, for which project; and what it says if that does not work."""

import io
import json
import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from httpcore._synchronization import ThreadLock  # there is no other place where an interrupt can be put in

from callboard.cli.api_client import ApiClient
from callboard.dev.data_folder import connection_file, lock_data_folder
from tests.support.constants import WORKSPACE
from tests.support.fake_api import KEY, FakeApi, callboard, callboard_process, error_of

PROJECTS = {"projects": []}


@contextmanager
def dev_stack(folder: Path, url: str) -> Generator[None]:
    """What a running `callboard dev` holds in its data folder."""
    connection: dict[str, str | int] = {"url": url, "apiKey": "key-of-dev", "workspaceId": WORKSPACE}
    with lock_data_folder(folder), connection_file(folder, connection):
        yield


def test_it_is_that_of_the_environment(api: FakeApi, tmp_path: Path):
    done = callboard_process("projects", "list", "--json", cwd=tmp_path, **api.environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "{}\n", "")
    (asked,) = api.asked
    assert (asked.method, asked.path, asked.key) == ("GET", "projects", KEY)
    api.answers = [(200, PROJECTS)]
    options = ["--url", api.url, "--key", "another"]
    beaten = api.callboard("projects", "list", *options, CALLBOARD_URL="http://127.0.0.1:9")
    assert (beaten.exit_code, api.asked[-1].key) == (0, "another"), "an option beats the environment"


def test_without_an_address_it_is_the_embedded_stack_on_the_data_folder(api: FakeApi, tmp_path: Path):
    api.answers = [(200, PROJECTS)]
    # A proxy of the environment is not asked for an address on this host.
    elsewhere = {"http_proxy": "http://127.0.0.1:9", "HOME": str(tmp_path)}
    with dev_stack(tmp_path, api.url):
        assert callboard("projects", "list", CALLBOARD_DATA_DIR=str(tmp_path), **elsewhere).exit_code == 0
        assert callboard("projects", "list", CALLBOARD_DATA_DIR=str(tmp_path), CALLBOARD_API_KEY=KEY).exit_code == 0
        # A data folder that is named beats address and key of the environment.
        other = {"CALLBOARD_URL": "http://127.0.0.1:9", "CALLBOARD_API_KEY": "of-that"}
        assert callboard("projects", "list", "--data", tmp_path, **other).exit_code == 0
    assert [asked.key for asked in api.asked] == ["key-of-dev", KEY, "key-of-dev"]


@pytest.mark.parametrize("key", [None, f"{KEY}\r", f" {KEY}", f"{KEY}é", f"{KEY}\x00"])
def test_a_key_that_cannot_be_one_is_told_and_not_shown(api: FakeApi, key: str | None):
    options = [] if key is None else ["--key", key]
    code, sentence = error_of(callboard("projects", "list", "--url", api.url, *options))
    assert (code, "CALLBOARD_API_KEY" in sentence, KEY in sentence) == (1, True, False)
    assert api.asked == []


def test_where_there_is_no_api_it_says_so_with_how_to_name_one(tmp_path: Path, free_port: int):
    code, sentence = error_of(callboard("projects", "list", "--data", tmp_path / "nowhere"))
    assert (code, "callboard dev" in sentence, "CALLBOARD_URL" in sentence) == (5, True, True)
    url = f"http://127.0.0.1:{free_port}"
    code, sentence = error_of(callboard("projects", "list", "--url", url, CALLBOARD_API_KEY=KEY))
    assert (code, f"The API at {url} cannot be reached" in sentence) == (5, True)


def test_a_stack_that_was_killed_is_not_called(api: FakeApi, tmp_path: Path):
    (tmp_path / "lock").touch()  # as the stack has left it, with its connection file
    (tmp_path / "dev.json").write_text(json.dumps({"url": api.url, "apiKey": "key-of-dev", "workspaceId": WORKSPACE}))
    code, sentence = error_of(callboard("projects", "list", "--data", tmp_path))
    assert code == 5
    assert f"No `callboard dev` is running on {tmp_path}." in sentence
    assert api.asked == []


@pytest.mark.parametrize(
    ("status", "code"), [(400, 2), (401, 1), (403, 1), (404, 4), (409, 1), (413, 2), (500, 1), (501, 1), (503, 5)]
)
def test_what_the_api_refuses_is_told_in_its_own_sentence(api: FakeApi, status: int, code: int):
    api.answers = [(status, {"code": "some", "message": "A sentence.", "more": 1})]
    assert api.error("projects", "list") == (code, "A sentence.")


@pytest.mark.parametrize(
    ("status", "answer"), [(502, b"<html>"), (502, b"[]"), (502, b"{}"), (404, b""), (302, b""), (200, b"<html>")]
)
def test_what_is_no_api_of_callboard_is_told(api: FakeApi, status: int, answer: bytes):
    api.answers = [(status, answer)]
    code, sentence = api.error("projects", "list")
    assert (code, f"answered {status}" in sentence) == (5, True)


def test_the_project_is_the_one_whose_folder_one_stands_in(
    api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    api.answers = [(200, {"runs": [], "nextCursor": None})]
    (tmp_path / "folder" / "api").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "folder" / "api")
    code, sentence = api.error("runs", "list")
    assert (code, "-p" in sentence) == (2, True)
    (tmp_path / "folder" / "Intuned.yaml").write_text("projectName: named")
    assert api.callboard("runs", "list").exit_code == 0
    (tmp_path / "folder" / "Intuned.yaml").write_text("{}")
    assert api.callboard("runs", "list").exit_code == 0
    assert api.callboard("runs", "list", "-p", "an other").exit_code == 0
    places = [asked.path.split("/")[1] for asked in api.asked]
    assert places == ["named", "folder", "an%20other"]


@pytest.mark.timeout(60)
def test_ctrl_c_ends_a_request_wherever_it_comes(api: FakeApi, monkeypatch: pytest.MonkeyPatch):
    """Between a lock of the library below and its release: to close its client would wait for that lock for ever."""
    acquire, fired = ThreadLock.__enter__, threading.Event()

    def acquired_as_it_comes(lock: ThreadLock) -> ThreadLock:
        entered = acquire(lock)
        if not fired.is_set():
            fired.set()
            os.kill(os.getpid(), signal.SIGINT)
        return entered

    monkeypatch.setattr(ThreadLock, "__enter__", acquired_as_it_comes)
    there = ApiClient(api.url, WORKSPACE, KEY, on_this_host=True)
    with pytest.raises(KeyboardInterrupt):
        there.request("GET", "projects")
    fired.clear()
    with pytest.raises(KeyboardInterrupt), there.stream_lines("projects") as lines:
        list(lines)
    fired.clear()
    with pytest.raises(KeyboardInterrupt):
        there.download("projects", io.BytesIO())


def test_all_that_is_wrong_with_a_request_is_told(api: FakeApi):
    errors = [{"path": "parameters", "expected": "a value"}, {"path": "x", "expected": "no such field"}]
    message = "parameters: expected a value. And 1 more, see details.errors."
    api.answers = [(400, {"message": message, "details": {**errors[0], "errors": errors}})]
    done = api.callboard("projects", "list")
    assert error_of(done) == (2, "parameters: expected a value. x: expected no such field.")
