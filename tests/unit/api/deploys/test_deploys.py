"""A project that is sent is checked and stored, and its deploy is asked of workers, who tell how far they are."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from callboard.projects.upload import pack_upload
from callboard.schemas.workflow.deploy import DeployStatus, DeployView, PublishedVersion
from callboard.schemas.workflow.resources import AppliedResources, ResourceChanges
from callboard.storage import object_keys
from callboard.storage.folder import FolderStore
from callboard.temporal.deploys import Application
from tests.support.api_in_process import AUTOMATION, Api, MakeApi
from tests.support.constants import WORKSPACE
from tests.support.files import write_files
from tests.support.polling import until

NEW = f"/api/v1/workspace/{WORKSPACE}/projects/new"
GZIP = {"content-type": "application/gzip"}
TREE: dict[str, Any] = {
    "codeTree": {
        "Intuned.json": {"file": {"contents": "{}"}},
        "api": {"directory": {"list.py": {"file": {"contents": AUTOMATION}}}},
    },
    "platformType": "CLI",
    "language": "python",
}


@pytest.fixture
async def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "artifacts")


@pytest.fixture
async def api(make_api: MakeApi, store: FolderStore, tmp_path: Path) -> Api:
    return await make_api(store=store, data_dir=tmp_path / "data", upload_limit=1024**2)


@pytest.fixture
def packed(tmp_path: Path) -> bytes:
    folder = write_files(tmp_path / "new", {"Intuned.json": "{}", "api/list.py": AUTOMATION})
    archive = tmp_path / "upload.tar.gz"
    pack_upload(folder, archive)
    return archive.read_bytes()


async def send(api: Api, content: Any, url: str = NEW, status: int = 200, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = await api.client.put(url, content=content, headers={**GZIP, **named})
    assert answer.status_code == status, answer.text
    return answer.json()


async def start(api: Api, body: Any = None, status: int = 200) -> Any:
    answer = await api.client.post(f"{NEW}/deploy", content=b"" if body is None else json.dumps(body))
    assert answer.status_code == status, answer.text
    return answer.json()


def left(tmp_path: Path) -> list[str]:
    return [each.name for each in (tmp_path / "data" / "uploads").iterdir()]


async def test_a_bundle_is_stored_as_it_came_and_nothing_stays_on_the_disk(api: Api, packed: bytes, tmp_path: Path):
    async def pieces() -> AsyncIterator[bytes]:
        for begin in range(0, len(packed), 100):
            yield packed[begin : begin + 100]

    upload = (await send(api, pieces()))["id"]
    assert await api.store.get(object_keys.upload_bundle("new", upload)) == packed
    assert await api.stored("projects/new") == []
    assert left(tmp_path) == []


async def test_a_tree_of_the_contract_is_taken_as_well(api: Api):
    answer = await api.client.put(NEW, json=TREE)
    assert await api.stored("uploads/") == [object_keys.upload_bundle("new", answer.json()["id"])]


@pytest.mark.parametrize(
    ("tree", "path"),
    [
        ({"x": {"file": {"contents": 1}}}, "codeTree.x"),
        ({"api": {"directory": {"a/b": {"directory": {}}}}}, "codeTree.api/a/b"),
        ({"..": {"directory": {}}}, "codeTree..."),
        ([], "codeTree"),
    ],
)
async def test_a_wrong_tree_is_refused_with_the_path(api: Api, tree: Any, path: str):
    answer = await api.client.put(NEW, json={**TREE, "codeTree": tree})
    assert (answer.status_code, answer.json()["details"]["path"]) == (400, path)


async def test_what_is_wrong_or_too_large_leaves_nothing(api: Api, packed: bytes, tmp_path: Path):
    wrong = await send(api, packed[:-20], status=400)
    assert wrong["message"].startswith("The upload is no tar")
    announced = await send(api, packed, status=413, **{"content-length": str(1024**2 + 1)})
    assert announced["details"]["expected"] == "at most 1048576 bytes"
    await send(api, bytes(1024**2 + 1), status=413)
    assert (await api.client.put(NEW, json={**TREE, "platformType": "IDE"})).status_code == 400
    assert await send(api, packed, NEW.replace("new", "No"), status=400)
    assert await api.stored("uploads/") == []
    assert left(tmp_path) == []


async def test_only_some_projects_arrive_at_the_same_time_and_of_one_key_fewer(api: Api, packed: bytes):
    slow, arrived = asyncio.Event(), 0

    async def slowly() -> AsyncIterator[bytes]:
        nonlocal arrived
        arrived += 1
        await slow.wait()
        yield packed

    one, other, third = [await api.make_key("deploy") for _ in range(3)]
    arriving = [asyncio.create_task(send(api, slowly(), x_api_key=one)) for _ in range(2)]
    await until(lambda: arrived == 2)
    refused = await send(api, packed, status=503, x_api_key=one)
    assert (refused["retirable"], "with your key" in refused["message"]) == (True, True)
    await send(api, packed, x_api_key=other)
    arriving += [asyncio.create_task(send(api, slowly(), x_api_key=other)) for _ in range(2)]
    await until(lambda: arrived == 4)
    assert "with your key" not in (await send(api, packed, status=503, x_api_key=third))["message"]
    slow.set()
    assert len({answer["id"] for answer in await asyncio.gather(*arriving)}) == 4
    await send(api, packed, x_api_key=one)


async def test_the_latest_upload_is_deployed_unless_another_is_named(api: Api, packed: bytes):
    await start(api, status=404)
    first, second = [(await send(api, packed))["id"] for _ in range(2)]
    said = {"message": "Read prices", "commit": "7fd1a60", "promote": False}
    assert await start(api, {**said, "id": first}) == {"id": "deploy-1", "status": "pending"}
    await start(api, status=409)
    api.deploys.view = DeployView(project="new", status=DeployStatus.COMPLETED)
    await start(api)
    asked = [(each.upload, each.message, each.commit, each.promote) for each in api.deploys.started]
    assert asked == [(first, "Read prices", "7fd1a60", False), (second, None, None, True)]
    assert {each.by for each in api.deploys.started} == {"operator"}
    for wrong in ({"id": "../x"}, {"promote": 1}, {"branch": "main"}, []):
        await start(api, wrong, status=400)
    await start(api, {"id": f"{first}0"}, status=404)


async def test_the_result_tells_how_far_the_deploy_is(api: Api, packed: bytes):
    async def result(status: int = 200, **query: str) -> Any:
        answer = await api.client.get(f"{NEW}/deploy/result", params=query)
        assert answer.status_code == status, answer.text
        return answer.json()

    await result(404)
    await send(api, packed)
    await start(api)
    pending = await result()
    assert (pending["id"], pending["status"], pending["version"]) == ("deploy-1", "pending", None)
    assert "reason" not in pending
    api.deploys.view = DeployView(project="new", status=DeployStatus.FAILED, message="It failed.", reason="No wheel.")
    assert {"status": "failed", "message": "It failed.", "reason": "No wheel."}.items() <= (await result()).items()
    published = PublishedVersion(version="0" * 16, deployed_at=datetime.now(UTC), has_resources=True)
    api.deploys.view = DeployView(project="new", status=DeployStatus.COMPLETED, message="Done.", published=published)
    api.deploys.application = Application(DeployStatus.PENDING)
    assert (await result())["resources"] == {"status": "pending", "jobs": None, "authSessions": None}
    changed = AppliedResources(jobs=ResourceChanges(created=("nightly",)))
    api.deploys.application = Application(DeployStatus.COMPLETED, changed)
    ended = await result(id="deploy-1")
    assert ended["resources"]["jobs"] == {"created": ["nightly"], "updated": [], "removed": [], "refused": []}
    assert (ended["version"], ended["promoted"]) == ("0" * 16, True)
    await result(404, id="deploy-2")
