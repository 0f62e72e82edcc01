"""The vendor's packages that existing projects import, installed as they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from callboard.machines import runner
from callboard.machines.attempt_spec import EvidenceSpec
from callboard.machines.left_files import FileLimits, find_left_files
from callboard.machines.runner.folders import FILES
from tests.support.machines import attempt_of, value
from tests.support.project_host import Host
from tests.support.s3_server import BUCKET, s3_server

BROWSER_HELPERS = """
from intuned_browser import extract_markdown, go_to_url, resolve_url, save_file_to_s3, wait_for_dom_settled
from intuned_runtime import run_info

async def automation(page, params):
    await go_to_url(page, params["site"])
    await wait_for_dom_settled(page)
    return [await extract_markdown(page), await resolve_url(page=page, url="/products"), run_info().run_id]
"""
UPLOADS = """
from intuned_browser import save_file_to_s3, upload_file_to_s3

async def automation(page, params):
    await page.set_content("<a download='link.txt' href='data:text/plain,linked'>get it</a>")
    uploads = [await upload_file_to_s3(b"bytes", file_name_override="bytes.txt")]
    uploads.append(await save_file_to_s3(page, trigger=page.locator("a")))
    return [upload.to_dict() for upload in uploads]
"""
MANAGED = """
from pathlib import Path
from intuned_browser import save_file_to_s3, upload_file_to_s3

async def automation(page, params):
    Path("output/uploads").mkdir(parents=True)
    Path("output/uploads/1").write_text("the code's own")
    await page.set_content("<a download='link.txt' href='data:text/plain,linked'>get it</a>")
    uploads = [await upload_file_to_s3(b"x" * params["size"], file_name_override="reports/large.bin")]
    uploads.append(await save_file_to_s3(page, trigger=page.locator("a")))
    return [upload.to_dict() | {"url": await upload.get_signed_url()} for upload in uploads]
"""
MODELS = """
import httpx
import intuned_runtime
import requests
import tenacity
from intuned_runtime import extend_payload
from pydantic import BaseModel, Field, HttpUrl

class Product(BaseModel):
    name: str
    link: HttpUrl = Field(alias="detailsUrl")

class Payload(BaseModel):
    api: str
    parameters: Product

async def automation(page, params):
    chair = Product(name="Chair", detailsUrl="https://shop.test/chair")
    extend_payload({"api": "details", "parameters": chair})
    extend_payload(Payload(api="details", parameters=chair), {"api": "all", "parameters": {"products": [chair]}})
    return [module.__name__ for module in (httpx, requests, tenacity)] + [intuned_runtime.__file__]
"""
VENDORS = {
    "pyproject.toml": """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "shop"
version = "0.0.1"
requires-python = ">=3.12,<3.13"
dependencies = ["playwright==1.61.0", "intuned-runtime==1.3.41", "intuned-browser==0.1.18"]

[tool.uv]
package = false
"""
}
"""Declared as in the vendor's public cookbook. A dependency, `fuzzysearch`, has no wheel for a Python of ours."""


@pytest.fixture(scope="module")
def environments_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for the tests of this module: two have the same packages, and all of them fetch many."""
    return tmp_path_factory.mktemp("environments")


async def test_the_vendor_s_browser_helpers_work_with_our_runtime(host: Host, site: str):
    manifest = await host.deploy({**VENDORS, "api/helpers.py": BROWSER_HELPERS})
    pool = host.lab.pool(project=manifest.project)
    attempt = attempt_of("helpers", {"site": site}, run_info={"run_id": "the run"})
    markdown, url, run_id = value(await pool.run_attempt(await host.version(manifest), attempt))
    assert "# " in markdown
    assert (url, run_id) == (f"{site}/products", "the run")


async def test_what_the_vendor_s_runtime_requires_is_there_with_our_runtime(host: Host):
    manifest = await host.deploy({"requirements.txt": "intuned-runtime==1.3.41\n", "api/models.py": MODELS})
    pool = host.lab.pool(project=manifest.project)
    report = await pool.run_attempt(await host.version(manifest), attempt_of("models", {}))
    *imported, runtime = value(report)
    assert imported == ["httpx", "requests", "tenacity"]
    assert Path(runtime).parent.parent == Path(runner.__file__).parents[3] / "runtime"
    chair = {"name": "Chair", "detailsUrl": "https://shop.test/chair"}
    assert report.extended_payloads is not None
    assert json.loads(report.extended_payloads) == [
        {"api": "details", "parameters": chair},
        {"api": "details", "parameters": chair},
        {"api": "all", "parameters": {"products": [chair]}},
    ]


async def test_upload_helpers_write_to_the_bucket_of_the_project_s_variables(host: Host, tmp_path: Path):
    version = await host.version(await host.deploy({**VENDORS, "api/uploads.py": UPLOADS}))
    (tmp_path / "s3").mkdir()
    async with s3_server(tmp_path / "s3") as server:
        variables = {
            "AWS_BUCKET": BUCKET,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": server.endpoint,
            "AWS_ACCESS_KEY_ID": server.access_key,
            "AWS_SECRET_ACCESS_KEY": server.secret_key,
        }
        spec = attempt_of("uploads", {}, variables=tuple(variables.items()))
        report = await host.lab.pool(project=version.project).run_attempt(version, spec)
    assert [upload["bucket"] for upload in value(report)] == [BUCKET, BUCKET]
    uploaded = {path.name: path.read_text() for path in (tmp_path / "s3" / "buckets").rglob("*.txt")}
    assert uploaded == {"bytes.txt": "bytes", "link.txt": "linked"}


async def test_without_a_bucket_upload_helpers_leave_files_of_the_attempt(host: Host, tmp_path: Path):
    version = await host.version(await host.deploy({**VENDORS, "api/managed.py": MANAGED}))
    size = 20 * 1024 * 1024
    spec = attempt_of(
        "managed", {"size": size}, run_info={"attempt_path": "/attempts/1"}, evidence=EvidenceSpec(tmp_path)
    )
    report = await host.lab.pool(project=version.project).run_attempt(version, spec)
    found = [(upload["file_name"], upload["url"], upload["signed_url"]) for upload in value(report)]
    assert found == [
        (name, url, url)
        for name, url in (
            ("reports/large.bin", "/attempts/1/files/uploads%2F2"),
            ("link.txt", "/attempts/1/files/uploads%2F3"),
        )
    ]
    left = find_left_files(tmp_path / FILES, FileLimits())
    assert (sorted(file.name for file in left.files), left.missing) == (
        ["downloads/link.txt", "uploads/1", "uploads/2", "uploads/3"],
        None,
    )
    sizes = {path.name: path.stat().st_size for path in (tmp_path / FILES).rglob("uploads/*")}
    assert sizes == {"1": len("the code's own"), "2": size, "3": len("linked")}
