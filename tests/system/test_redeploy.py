"""Projects that change while they are served: nothing is restarted, and no Run in flight is disturbed."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.support.files import write_files
from tests.support.polling import until

FILES = {
    # What a version is, from a module that every project here has.
    "utils.py": "WORD = {word!r}\n",
    "late.py": "WORD = {word!r}\n",
    "api/say.py": "from utils import WORD\n\n\nasync def automation(page, params=None, **_):\n    return WORD\n",
    # Is under way until the test says so, and imports more of its project only then.
    "api/held.py": """
import asyncio
from pathlib import Path

from utils import WORD


async def automation(page, params, **_):
    Path(params["began"]).touch()
    while not Path(params["go"]).exists():
        await asyncio.sleep(0.02)
    import late

    return [WORD, late.WORD]
""",
    "api/second-time.py": """
import asyncio
from pathlib import Path

from utils import WORD


async def automation(page, params, **_):
    if not Path(params["began"]).exists():
        Path(params["began"]).touch()
        while not Path(params["go"]).exists():
            await asyncio.sleep(0.02)
        raise RuntimeError(f"the first time, as {WORD}")
    return WORD
""",
    # How many are inside at the same time, itself among them.
    "api/count.py": """
import asyncio
import uuid
from pathlib import Path


async def automation(page, params, **_):
    me = Path(params["folder"]) / uuid.uuid4().hex
    me.touch()
    await asyncio.sleep(0.1)
    while params.get("go") and not Path(params["go"]).exists():
        await asyncio.sleep(0.02)
    inside = len(list(me.parent.iterdir()))
    me.unlink()
    return inside
""",
}


def write(folder: Path, word: str, *, machines: int = 2) -> None:
    """Write a version of a project, which says `word`."""
    write_files(folder, {path: text.replace("{word!r}", repr(word)) for path, text in FILES.items()})
    set_machines(folder, machines)


def set_machines(folder: Path, machines: int, *, is_open: bool = True) -> None:
    settings = {
        "projectName": folder.name,
        "apiAccess": {"enabled": is_open},
        "replication": {"maxConcurrentRequests": machines},
    }
    (folder / "Intuned.json").write_text(json.dumps(settings))


async def until_there(*paths: Path) -> None:
    await until(lambda: all(path.exists() for path in paths))


async def until_one_machine(stack: Any, project: str) -> None:
    """Wait until the worker serves the project with one Machine."""
    log = stack.data / "logs" / "worker.log"
    await until(lambda: f"serving project {project} with 1 Machine(s)" in log.read_text())


@pytest.fixture
def name() -> str:
    """Of a project that no other test has."""
    return f"live-{uuid.uuid4().hex[:8]}"


class Project:
    """A project on the stack that changes."""

    def __init__(self, stack: Any, name: str, folder: Path) -> None:
        self._stack = stack
        self.name = name
        self.folder = folder

    async def start(self, api: str, **parameters: Any) -> str:
        texts = {key: str(value) if isinstance(value, Path) else value for key, value in parameters.items()}
        return await self._stack.start(api, texts, project=self.name, retry={"maximumAttempts": 2})

    async def result(self, run_id: str) -> Any:
        answer = await self._stack.result(run_id, project=self.name)
        assert answer["status"] == "completed", answer
        return answer["result"]

    async def says(self) -> str | None:
        """What a Run that is started now says; None if there is no such project yet."""
        body = {"api": "say", "parameters": {}}
        answer = await self._stack.request("POST", "run/start", project=self.name, json=body)
        if answer.status_code == 404:
            return None
        assert answer.status_code == 201, answer.text
        return await self.result(answer.json()["runId"])

    async def until_it_says(self, word: str) -> None:
        await until(self.says, true=lambda said: said == word, every=0.25)  # Each look is a whole Run.

    def attempts(self, run_id: str) -> list[dict[str, Any]]:
        records = (self._stack.data / "artifacts/runs" / self.name / run_id / "attempts").glob("*/attempt.json")
        return [json.loads(record.read_text()) for record in sorted(records)]


@pytest.fixture
async def project(stack: Any, name: str) -> Project:
    """A project with two Machines that appeared while the stack was running, and says "one"."""
    project = Project(stack, name, stack.projects / name)
    write(project.folder, "one")
    await project.until_it_says("one")
    return project


async def test_a_change_is_served_while_runs_in_flight_keep_their_version(project: Project, tmp_path: Path) -> None:
    """Also in a further Attempt."""
    go = tmp_path / "go"
    held, again = [await project.start(api, began=tmp_path / api, go=go) for api in ("held", "second-time")]
    await until_there(tmp_path / "held", tmp_path / "second-time")
    write(project.folder, "two", machines=3)
    await project.until_it_says("two")
    new = await project.start("held", began=tmp_path / "new", go=go)
    await until_there(tmp_path / "new")  # now both versions run
    go.touch()
    assert [await project.result(run_id) for run_id in (held, again, new)] == [["one", "one"], "one", ["two", "two"]]
    assert [attempt["status"] for attempt in project.attempts(again)] == ["failed", "completed"]
    versions = [{attempt["version"] for attempt in project.attempts(run_id)} for run_id in (held, again, new)]
    assert versions[0] == versions[1] != versions[2]
    assert [len(version) for version in versions] == [1, 1, 1]


async def test_fewer_machines_take_effect_as_attempts_end_and_are_never_exceeded(
    stack: Any, project: Project, name: str, tmp_path: Path
) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    held = [await project.start("count", folder=inside, go=tmp_path / f"go-{n}") for n in range(2)]
    await until(lambda: len(list(inside.iterdir())) == 2)
    set_machines(project.folder, 1)
    await until_one_machine(stack, name)
    waiting = [await project.start("count", folder=inside) for _ in range(4)]
    (tmp_path / "go-0").touch()
    assert await project.result(held[0]) == 2  # one has left: the other is as many as there may be now
    statuses = [(await stack.result(run_id, project=name, wait=0))["status"] for run_id in waiting]
    assert statuses == ["pending"] * 4
    (tmp_path / "go-1").touch()
    assert [await project.result(run_id) for run_id in (held[1], *waiting)] == [1] * 5
    assert all(len(project.attempts(run_id)) == 1 for run_id in held + waiting)


async def test_turning_off_api_access_cancels_waiting_runs_only(
    stack: Any, project: Project, name: str, tmp_path: Path
) -> None:
    running = [await project.start("held", began=tmp_path / f"{n}", go=tmp_path / "go") for n in range(2)]
    await until_there(*(tmp_path / f"{n}" for n in range(2)))
    waiting = await project.start("say")
    set_machines(project.folder, 1, is_open=False)
    await until_one_machine(stack, name)
    (tmp_path / "go").touch()
    assert [await project.result(run_id) for run_id in running] == [["one", "one"]] * 2
    ended = await stack.result(waiting, project=name)
    assert ended["status"] == "canceled", ended
    assert ended["reason"]["type"] == "api-access-disabled"
    assert name in ended["reason"]["message"]


async def test_a_project_is_rolled_back_and_deleted_with_what_runs(
    stack: Any, project: Project, name: str, tmp_path: Path
) -> None:
    write(project.folder, "two")
    await project.until_it_says("two")
    newest = (await stack.get("versions", project=name))["versions"][0]["version"]
    rolled_back = await stack.ask("POST", "rollback", project=name)
    assert rolled_back["version"] != newest
    await project.until_it_says("one")
    body = {"api": "say", "parameters": {}, "version": newest}
    started = await stack.ask("POST", "run/start", body, project=name)
    assert await project.result(started["runId"]) == "two"

    await project.start("held", began=tmp_path / "began", go=tmp_path / "go")
    await until_there(tmp_path / "began")
    query = {"confirm": name, "openRuns": "cancel"}
    answer = await stack.request("DELETE", "", project=name, params=query)
    assert answer.status_code == 204, answer.text
    assert (await stack.request("GET", "", project=name)).status_code == 404
    log = stack.data / "logs" / "worker.log"
    await until(lambda: f"serving project {name} with 0 Machine(s)" in log.read_text())
    left = [path for path in (stack.data / "artifacts").rglob("*") if path.is_file() and f"/{name}/" in str(path)]
    assert left == []
