"""Projects that change while they are served: nothing is restarted, and no Run in flight is disturbed."""

from __future__ import annotations

import json
import shutil
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.support.files import write_files
from tests.support.polling import until
from tests.support.processes import CALLBOARD, execute

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


async def test_serves_a_change_while_a_run_in_flight_keeps_its_version(project: Project, tmp_path: Path) -> None:
    old = await project.start("held", began=tmp_path / "old", go=tmp_path / "go")
    await until_there(tmp_path / "old")
    write(project.folder, "two")
    await project.until_it_says("two")
    new = await project.start("held", began=tmp_path / "new", go=tmp_path / "go")
    await until_there(tmp_path / "new")  # now both versions run
    (tmp_path / "go").touch()
    assert await project.result(old) == ["one", "one"]
    assert await project.result(new) == ["two", "two"]
    assert [attempt["number"] for attempt in project.attempts(old)] == [1]
    assert project.attempts(old)[0]["version"] != project.attempts(new)[0]["version"]


async def test_an_attempt_after_a_redeploy_keeps_the_version_of_its_run(project: Project, tmp_path: Path) -> None:
    run_id = await project.start("second-time", began=tmp_path / "began", go=tmp_path / "go")
    await until_there(tmp_path / "began")
    write(project.folder, "two")
    await project.until_it_says("two")
    (tmp_path / "go").touch()
    assert await project.result(run_id) == "one"
    first, second = project.attempts(run_id)
    assert (first["status"], second["status"]) == ("failed", "completed")
    assert first["version"] == second["version"]


async def test_projects_with_modules_of_the_same_name_run_side_by_side(
    stack: Any, project: Project, name: str, tmp_path: Path
) -> None:
    other = Project(stack, f"{name}-b", stack.projects / f"{name}-b")
    write(other.folder, "other")
    await other.until_it_says("other")
    runs: list[tuple[Project, str, list[str]]] = []
    for n in range(2):
        for each, word in ((project, "one"), (other, "other")):
            run_id = await each.start("held", began=tmp_path / f"{word}-{n}", go=tmp_path / "go")
            runs.append((each, run_id, [word, word]))
    await until_there(*(tmp_path / f"{word}-{n}" for word in ("one", "other") for n in range(2)))  # all at once
    (tmp_path / "go").touch()
    for each, run_id, words in runs:
        assert await each.result(run_id) == words
    # And in turn.
    assert [await each.says() for each in (project, other, project, other)] == ["one", "other", "one", "other"]


async def test_a_change_that_breaks_a_project_keeps_it_serving(stack: Any, project: Project) -> None:
    def is_broken() -> bool:
        return project.folder in [broken.folder for broken in stack.dev.projects.broken]

    (project.folder / "Intuned.json").write_text('{"replication": ')
    await until(is_broken)
    assert await project.says() == "one"
    write(project.folder, "two")
    await project.until_it_says("two")
    assert not is_broken()


async def test_a_project_that_disappears_is_served_on(stack: Any, project: Project, name: str) -> None:
    shutil.rmtree(project.folder)
    # Named after the first, so that it is seen after it has gone.
    other = Project(stack, f"{name}-b", stack.projects / f"{name}-b")
    write(other.folder, "other")
    await other.until_it_says("other")
    assert await project.says() == "one"


async def test_more_machines_take_effect_and_disturb_nothing(project: Project, name: str, tmp_path: Path) -> None:
    runs = [await project.start("held", began=tmp_path / f"{n}", go=tmp_path / "go") for n in range(4)]
    # Whichever: the order in which Runs are taken is not promised here.
    await until(lambda: len(list(tmp_path.glob("[0-9]"))) == 2)
    set_machines(project.folder, 4)
    await until_there(*(tmp_path / f"{n}" for n in range(4)))
    (tmp_path / "go").touch()
    for run_id in runs:
        assert await project.result(run_id) == ["one", "one"]
        assert len(project.attempts(run_id)) == 1


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


async def test_callboard_deploy_publishes_to_a_store_that_is_being_served(
    stack: Any, name: str, tmp_path: Path
) -> None:
    async def deploy() -> None:
        store = ("--artifacts", str(stack.data / "artifacts"), "--data", str(tmp_path / "data"))
        done = await execute(CALLBOARD, "deploy", project.folder, *store)
        assert f"Deployed {name}, version" in done.out

    project = Project(stack, name, tmp_path / name)
    write(project.folder, "one")
    await deploy()
    await project.until_it_says("one")
    old = [await project.start("held", began=tmp_path / f"old-{n}", go=tmp_path / "go") for n in range(2)]
    await until_there(tmp_path / "old-0", tmp_path / "old-1")
    write(project.folder, "two", machines=3)
    await deploy()
    await project.until_it_says("two")  # on the third Machine
    (tmp_path / "go").touch()
    for run_id in old:
        assert await project.result(run_id) == ["one", "one"]
        assert len(project.attempts(run_id)) == 1
