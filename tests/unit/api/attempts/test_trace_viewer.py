"""The trace viewer's own application: the viewer of the installed Playwright, and traces by their sealed addresses."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import override

import httpx
import pytest

from api.attempts.trace_viewer import create_viewer
from callboard.schemas.errors import StoreError
from callboard.security.keyring import KeyRing
from callboard.security.signed_links import TraceRef, sign_link
from callboard.storage import object_keys
from callboard.storage.folder import FolderStore
from tests.support.api_in_process import SECRET
from tests.support.constants import WORKSPACE

RING = KeyRing([SECRET])


@pytest.fixture
async def store(tmp_path: Path) -> FolderStore:
    store = FolderStore(tmp_path)
    await store.put(object_keys.attempt("shop", "run-1", 1, "trace.zip"), b"PK of run-1")
    await store.put(object_keys.attempt("shop", "run-1", 1, "log.jsonl"), b"{}")
    return store


@pytest.fixture
async def viewer(store: FolderStore) -> AsyncGenerator[httpx.AsyncClient]:
    app = create_viewer(workspace=WORKSPACE, ring=RING, store=store)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://viewer.test") as client:
        yield client


def address(number: int = 1, *, run_id: str = "run-1", workspace: str = WORKSPACE) -> str:
    return f"/traces/{sign_link(TraceRef(workspace, 'shop', run_id, number), RING)[0]}.zip"


async def test_a_trace_is_given_to_whoever_has_its_address(viewer: httpx.AsyncClient):
    answer = await viewer.get(address())
    assert (answer.status_code, answer.content) == (200, b"PK of run-1")
    assert answer.headers["content-type"] == "application/zip"


async def test_no_other_file_no_other_run_and_no_other_workspace(viewer: httpx.AsyncClient):
    missing = [address(2), address(run_id="run-2"), address(workspace="another"), "/traces/guessed.zip"]
    missing += ["/traces/../../../etc/passwd", "/api/v1", "/projects", "/healthz"]
    assert [(await viewer.get(path)).status_code for path in missing] == [404] * len(missing)


async def test_the_viewer_is_the_one_of_the_installed_playwright(viewer: httpx.AsyncClient):
    page = await viewer.get("/index.html")
    assert "Playwright Trace Viewer" in page.text
    worker = await viewer.get("/sw.bundle.js")
    assert worker.status_code == 200
    again = await viewer.get("/sw.bundle.js", headers={"if-none-match": worker.headers["etag"]})
    assert again.status_code == 304


async def test_the_origin_holds_nothing_and_reaches_nothing_else(viewer: httpx.AsyncClient):
    for path in ("/index.html", "/sw.bundle.js", address(), "/traces/guessed.zip", "/nothing"):
        headers = (await viewer.get(path, headers={"cookie": "callboard-session=stolen"})).headers
        assert "set-cookie" not in headers
        assert not [name for name in headers if name.startswith("access-control-")]
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "connect-src 'self' data:;" in headers["content-security-policy"]
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["referrer-policy"] == "no-referrer"


async def test_a_store_that_fails_is_no_missing_trace(store: FolderStore):
    class Failing(FolderStore):
        @override
        async def get_file(self, key: str, path: Path) -> bool:
            raise StoreError("the bucket is away")

    app = create_viewer(workspace=WORKSPACE, ring=RING, store=Failing(Path("unused")))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://viewer.test") as client:
        answer = await client.get(address())
    assert answer.status_code == 503
    assert "the bucket is away" in answer.text
