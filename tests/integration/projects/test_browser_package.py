"""The helpers of `@intuned/browser`: compiled by a deploy, and by their own tests in JavaScript with a real bucket."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from callboard.machines.attempt_spec import EvidenceSpec
from callboard.machines.box import driver_program
from callboard.machines.browser_program import find_browser
from callboard.projects.deploy import deploy
from callboard.projects.node.tools import has_tools, install_tools, tools_folder
from callboard.settings import Settings
from tests.support.files import write_files
from tests.support.machines import attempt_of, value
from tests.support.project_host import Host
from tests.support.repository import REPOSITORY
from tests.support.s3_server import BUCKET, s3_server

PROJECT = {
    "Intuned.jsonc": "{}",
    "package.json": '{"dependencies": {"@intuned/browser": "0.1.17", "playwright": "~1.61.1"}}',
    "api/helpers.ts": """
import { extractMarkdown, goToUrl, saveFileToS3 } from '@intuned/browser';
import { isPageLoaded } from '@intuned/browser/ai';
import { PlatformOnlyError } from '@intuned/runtime';
import { z } from 'zod';
import type { Page } from 'playwright';

export default async function handler(params: { site: string }, page: Page) {
  await goToUrl({ page, url: params.site });
  const markdown = await extractMarkdown({ source: page.locator('h1') });
  await page.setContent("<a download='link.txt' href='data:text/plain,linked'>get it</a>");
  const kept = await saveFileToS3({ page, trigger: page.locator('a') });
  const asked = await isPageLoaded({ page }).catch((error) => error instanceof PlatformOnlyError && error.message);
  return { markdown, kept, address: await kept.getSignedUrl(), asked, zod: z.number().parse(1) };
}
""",
}


@pytest.fixture(autouse=True)
def tools() -> None:
    """The libraries that the helpers use."""
    if not has_tools():
        install_tools()


async def test_a_deployed_project_uses_the_helpers(host: Host, site: str, tmp_path: Path):
    manifest = await deploy(write_files(tmp_path / "shop", PROJECT), host.store, host.environments)
    evidence = tmp_path / "evidence"
    evidence.mkdir()
    spec = attempt_of(
        "helpers", {"site": site}, evidence=EvidenceSpec(evidence), run_info={"attempt_path": "/the/attempt"}
    )
    result = value(await host.lab.pool(project="shop").run_attempt(await host.version(manifest), spec))
    assert result["markdown"].startswith("# ")
    assert result["kept"] == {
        **dict.fromkeys(("fileName", "key", "suggestedFileName"), "link.txt"),
        "fileType": "document",
    }
    assert result["address"] == "/the/attempt/files/link.txt"
    assert result["zod"] == 1, "it comes with @intuned/browser"
    assert (evidence / "files" / "output" / "link.txt").read_text() == "linked"
    assert result["asked"].startswith("isPageLoaded(), which shows a model a picture of the page, needs a service")


async def test_the_helpers_pass_their_own_tests(tmp_path: Path):
    files = sorted((REPOSITORY / "tests" / "node" / "browser").glob("*.test.js"))
    async with s3_server(tmp_path) as server:
        process = await asyncio.create_subprocess_exec(
            driver_program(),
            *("--test", f"--test-concurrency={len(files)}", *files),
            env={
                **os.environ,
                **server.environment,
                "AWS_BUCKET": BUCKET,
                "AWS_REGION": "us-east-1",
                "AWS_ENDPOINT_URL": server.endpoint,
                "CALLBOARD_TEST_BROWSER": find_browser(Settings().chromium),
                "CALLBOARD_TEST_TOOLS": str(tools_folder()),
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    assert "\nℹ pass 0" not in output
