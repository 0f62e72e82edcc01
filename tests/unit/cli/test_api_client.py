"""Which API a command calls, with which key, for which project; and what it says if that does not work."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from httpcore._synchronization import ThreadLock  # there is no other place where an interrupt can be put in

from callboard.cli.api_client import ApiClient
from callboard.dev.data_folder import connection_file, lock_data_folder
from callboard.schemas.errors import Unavailable
from tests.support.api_in_process import KEY, Api
from tests.support.commands import NOWHERE, Commands, callboard, error_of
from tests.support.constants import WORKSPACE
from tests.support.processes import callboard_process
from tests.unit.cli.conftest import Answer

LIST = ("projects", "list", "--json")


@contextmanager
def dev_stack(folder: Path, url: str, key: str) -> Generator[None]:
    """What a running `callboard dev` holds in its data folder."""
    connection: dict[str, str | int] = {"url": url, "apiKey": key, "workspaceId": WORKSPACE}
    with lock_data_folder(folder), connection_file(folder, connection):
        yield


def seen(said: str) -> list[str]:
    """The projects that a list names."""
    return [project["name"] for project in json.loads(said)["projects"]]


async def test_it_is_that_of_the_environment_unless_an_option_says_otherwise(api: Api, cli: Commands, tmp_path: Path):
    done = await asyncio.to_thread(callboard_process, *LIST, cwd=tmp_path, **cli.environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert {"shop", "members"} <= set(seen(done.stdout))
    key = await api.make_key("runs:read", projects=["shop"])
    options = ("--url", cli.url, "--key", key)
    assert seen(await cli.said(*LIST, *options, CALLBOARD_URL=NOWHERE["CALLBOARD_URL"])) == ["shop"]


async def test_without_an_address_it_is_the_embedded_stack_on_the_data_folder(api: Api, cli: Commands, tmp_path: Path):
    async def said(*options: object, **environment: str) -> list[str]:
        done = await asyncio.to_thread(callboard, *LIST, *options, **environment)
        assert done.exit_code == 0, done.output
        return seen(done.stdout)

    key, data = await api.make_key("runs:read", projects=["shop"]), {"CALLBOARD_DATA_DIR": str(tmp_path)}
    with dev_stack(tmp_path, cli.url, key):
        # A proxy of the environment is not asked for an address on this host.
        assert await said(http_proxy="http://127.0.0.1:9", HOME=str(tmp_path), **data) == ["shop"]
        assert len(await said(CALLBOARD_API_KEY=KEY, **data)) > 1
        # A data folder that is named beats address and key of the environment.
        assert await said("--data", tmp_path, **NOWHERE) == ["shop"]


@pytest.mark.parametrize("key", [None, f"{KEY}\r", f" {KEY}", f"{KEY}é", f"{KEY}\x00"])
def test_a_key_that_cannot_be_one_is_told_and_not_shown(key: str | None):
    options = [] if key is None else ["--key", key]
    code, sentence = error_of(callboard("projects", "list", "--url", NOWHERE["CALLBOARD_URL"], *options))
    assert (code, "CALLBOARD_API_KEY" in sentence, KEY in sentence) == (1, True, False)


def test_where_there_is_no_api_it_says_so_with_how_to_name_one(tmp_path: Path, free_port: int):
    code, sentence = error_of(callboard("projects", "list", "--data", tmp_path / "nowhere"))
    assert (code, "callboard dev" in sentence, "CALLBOARD_URL" in sentence) == (5, True, True)
    url = f"http://127.0.0.1:{free_port}"
    code, sentence = error_of(callboard("projects", "list", "--url", url, CALLBOARD_API_KEY=KEY))
    assert (code, f"The API at {url} cannot be reached" in sentence) == (5, True)


async def test_a_stack_that_was_killed_is_not_called(cli: Commands, tmp_path: Path):
    with dev_stack(tmp_path, cli.url, KEY):
        left = (tmp_path / "dev.json").read_bytes()
    (tmp_path / "dev.json").write_bytes(left)
    code, sentence = await cli.error("projects", "list", "--data", tmp_path)
    assert code == 5
    assert f"No `callboard dev` is running on {tmp_path}." in sentence


async def test_what_the_api_refuses_is_told_in_its_own_sentence(api: Api, cli: Commands):
    start, body = ("runs", "start", "-p", "shop"), json.dumps({"api": "list", "parameters": {}})
    once = ("--idempotency-key", "once")
    await cli.said(*start, body, *once)
    reader = await api.make_key("runs:read")
    other, large = (json.dumps({"api": "list", "parameters": {"text": size * "x"}}) for size in (1, 2 * 1024**2))
    for words, key, code, said in (
        ((*start, '{"api": "list"}'), KEY, 2, "parameters: expected a value"),
        ((*start, body), "another-key-that-nobody-made", 1, "key"),
        ((*start, body), reader, 1, "the scope runs:start"),
        (("runs", "get", "gone", "-p", "shop"), KEY, 4, "There is no such Run."),
        ((*start, other, *once), KEY, 1, "This Idempotency-Key was used before with another body."),
        ((*start, large), KEY, 2, "The body has more than "),
    ):
        told = await cli.error(*words, CALLBOARD_API_KEY=key)
        assert (told[0], said in told[1]) == (code, True), told
    api.runs.failure = Unavailable("Temporal cannot be reached.")
    assert await cli.error(*start, body) == (5, "Temporal cannot be reached.")
    api.runs.failure = RuntimeError("a secret")
    code, said = await cli.error(*start, body)
    assert (code, "a secret" in said) == (1, False)


async def test_all_that_is_wrong_with_a_request_is_told(cli: Commands):
    code, said = await cli.error("runs", "start", '{"api": "list", "x": 1}', "-p", "shop")
    assert code == 2
    assert said.startswith("parameters: expected a value: this field is required. x: expected one of the fields api, ")


@pytest.mark.parametrize(
    ("status", "given"), [(502, b"<html>"), (502, b"[]"), (502, b"{}"), (404, b""), (302, b""), (200, b"<html>")]
)
def test_what_is_no_api_of_callboard_is_told(answer: Answer, status: int, given: bytes):
    answer((status, given))
    code, sentence = error_of(callboard("projects", "list", **NOWHERE))
    assert (code, f"answered {status}" in sentence) == (5, True)


async def test_the_project_is_the_one_whose_folder_one_stands_in(
    cli: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async def said() -> str:
        return json.loads(await cli.said("projects", "get", "--json"))["name"]

    (tmp_path / "shop" / "api").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "shop" / "api")
    code, sentence = await cli.error("runs", "list")
    assert (code, "-p" in sentence) == (2, True)
    (tmp_path / "shop" / "Intuned.yaml").write_text("projectName: members")
    assert await said() == "members"
    (tmp_path / "shop" / "Intuned.yaml").write_text("{}")
    assert await said() == "shop"
    code, sentence = await cli.error("runs", "list", "-p", "an other")
    assert (code, "'an other'" in sentence) == (4, True)


@pytest.mark.timeout(60)
def test_ctrl_c_ends_a_request_wherever_it_comes(monkeypatch: pytest.MonkeyPatch):
    """Between a lock of the library below and its release: to close its client would wait for that lock for ever."""
    acquire, fired = ThreadLock.__enter__, threading.Event()

    def acquired_as_it_comes(lock: ThreadLock) -> ThreadLock:
        entered = acquire(lock)
        if not fired.is_set():
            fired.set()
            os.kill(os.getpid(), signal.SIGINT)
        return entered

    monkeypatch.setattr(ThreadLock, "__enter__", acquired_as_it_comes)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        there = ApiClient(f"http://127.0.0.1:{silent.getsockname()[1]}", WORKSPACE, KEY, on_this_host=True)
        with pytest.raises(KeyboardInterrupt):
            there.request("GET", "projects")
        fired.clear()
        with pytest.raises(KeyboardInterrupt), there.stream_lines("projects") as lines:
            list(lines)
        fired.clear()
        with pytest.raises(KeyboardInterrupt):
            there.download("projects", io.BytesIO())
