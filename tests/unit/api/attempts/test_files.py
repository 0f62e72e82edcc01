"""Files that an Attempt has left, as they are listed and given out: bytes of strangers, which no browser executes."""

from __future__ import annotations

import dataclasses
from typing import Any

import httpx
import pytest

from api.attempts.trace_viewer import create_viewer
from api.dependencies import Services
from callboard.schemas.workflow.attempt import RecordedFile
from callboard.schemas.workflow.base import JsonRef
from callboard.schemas.workflow.run import RunOutcome, RunStatus
from callboard.security.keyring import KeyRing
from callboard.security.signed_links import FileRef, sign_link
from callboard.storage import object_keys
from tests.support.api_in_process import SECRET, Api
from tests.support.attempt_artifacts import attempt_record, store_record
from tests.support.constants import WORKSPACE

HOSTILE = b"<script>alert(document.domain)</script>"
FILES = {
    "downloads/prices.csv": ("text/csv", b"a,b\n1,2\n"),
    "page.html": ("text/html", HOSTILE),
    "picture.svg": ("image/svg+xml", b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>"),
    "shot.png": ("image/png", b"\x89PNG"),
    'über "x"; y.txt': ("text/plain", HOSTILE),
}
RUNS = f"/api/v1/workspace/{WORKSPACE}/projects/shop/runs"


async def _run_with_files(api: Api, **fields: Any) -> str:
    run_id = await api.run()
    recorded = [
        RecordedFile(name=name, size=len(data), content_type=kind, sha256=f"{index:064x}")
        for index, (name, (kind, data)) in enumerate(FILES.items())
    ]
    await store_record(api, attempt_record(run_id, files=tuple(recorded), **fields))
    for index, (_, data) in enumerate(FILES.values()):
        await api.store.put(object_keys.file("shop", run_id, 1, index), data)
    return run_id


async def test_they_are_listed_with_links_that_open_them_without_a_key(api: Api):
    run_id = await _run_with_files(api)
    [without, *_] = (await api.ask(f"runs/{run_id}/attempts/1/files"))["files"]
    assert (without["url"], without["expiresAt"]) == (None, None), "nobody serves them without a key"
    services: Services = api.app.state.services
    settings = services.settings.model_copy(update={"viewer_url": "https://viewer.test/"})
    api.app.state.services = dataclasses.replace(services, settings=settings)
    files = (await api.ask(f"runs/{run_id}/attempts/1/files"))["files"]
    assert [file["name"] for file in files] == list(FILES)
    assert {name: files[0][name] for name in ("size", "contentType", "sha256")} == {
        "size": 8,
        "contentType": "text/csv",
        "sha256": "0" * 64,
    }
    app = create_viewer(workspace=WORKSPACE, ring=KeyRing([SECRET]), store=api.store)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://viewer.test") as client:
        for file, (kind, data) in zip(files, FILES.values(), strict=True):
            assert file["expiresAt"] is not None
            assert file["url"].startswith("https://viewer.test/files/")
            answer = await client.get(httpx.URL(file["url"]).path)
            assert (answer.status_code, answer.content) == (200, data)
            _assert_harmless(answer, kind)
        of = (WORKSPACE, "shop", run_id, 1)
        for wrong in (FileRef(*of, "../attempt.json"), FileRef("another", *of[1:], "page.html"), FileRef(*of, "")):
            assert (await client.get(f"/files/{sign_link(wrong, KeyRing([SECRET]))[0]}")).status_code == 404


@pytest.mark.parametrize("name", FILES)
async def test_a_file_is_an_attachment_that_a_browser_executes_nothing_of(api: Api, name: str):
    run_id = await _run_with_files(api)
    answer = await api.client.get(f"{RUNS}/{run_id}/attempts/1/files/{name}")
    assert (answer.status_code, answer.content) == (200, FILES[name][1])
    _assert_harmless(answer, FILES[name][0])


def _assert_harmless(answer: httpx.Response, kind: str) -> None:
    assert answer.headers["content-type"].partition(";")[0] == kind
    assert answer.headers["content-disposition"].startswith("attachment; filename")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"


async def test_a_range_of_a_file_is_answered_and_one_that_it_does_not_have_refused(api: Api):
    place = f"{RUNS}/{await _run_with_files(api)}/attempts/1/files/downloads/prices.csv"
    part = await api.client.get(place, headers={"range": "bytes=2-4"})
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, b"b\n1", "bytes 2-4/8")
    rest = await api.client.get(place, headers={"range": "bytes=6-", "if-range": part.headers["etag"]})
    assert (rest.status_code, rest.content) == (206, b"2\n")
    assert (await api.client.get(place, headers={"range": "bytes=9-"})).status_code == 416


async def test_no_other_object_is_given_out(api: Api):
    run_id = await _run_with_files(api, missing={"files": "big.bin: it is too large."})
    for name in (
        "nothing",
        "%2e%2e/attempt.json",
        "..%2Fattempt.json",
        "00000",
        "downloads",
        "downloads%2F..%2Fpage.html",
    ):
        answer = await api.client.get(f"{RUNS}/{run_id}/attempts/1/files/{name}")
        assert answer.status_code == 404, name
    message = (await api.ask(f"runs/{run_id}/attempts/1/files/nothing", status=404))["message"]
    assert message.endswith("has left no file of this name: big.bin: it is too large.")
    assert "has no Attempt 2" in (await api.ask(f"runs/{run_id}/attempts/2/files", status=404))["message"]


async def test_pages_show_texts_and_raster_pictures_alone(api: Api):
    run_id = await _run_with_files(api)
    base = f"/projects/shop/runs/{run_id}/attempts/1/preview"
    page = (await api.client.get(f"/projects/shop/runs/{run_id}", headers={"accept": "text/html"})).text
    assert [name in page for name in ("preview/shot.png", "preview/page.html", "preview/picture.svg")] == [
        True,
        False,
        False,
    ]
    for name in FILES:
        answer = await api.client.get(f"{base}/{name}")
        if name in ("page.html", "picture.svg"):
            assert answer.status_code == 404
            continue
        kind = "image/png" if name == "shot.png" else "text/plain; charset=utf-8"
        assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
        assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"


async def test_the_result_of_a_run_has_those_of_its_last_attempt_if_there_are_any(api: Api):
    run_id = await _run_with_files(api)
    result = JsonRef(text="7", size=1)
    api.runs.end(run_id, RunOutcome(status=RunStatus.COMPLETED, result=result, attempts=1, files=len(FILES)))
    answer = await api.ask(f"run/{run_id}/result")
    assert answer.keys() == {"runId", "status", "result", "files"}
    assert [file["name"] for file in answer["files"]] == list(FILES)
    without = await _run_with_files(api)
    api.runs.end(without, RunOutcome(status=RunStatus.COMPLETED, result=result, attempts=1))
    assert (await api.ask(f"run/{without}/result")).keys() == {"runId", "status", "result"}
