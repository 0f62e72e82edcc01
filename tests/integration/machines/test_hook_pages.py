"""What is left of a context that a project's hook has brought, also if its process cannot save it."""

from __future__ import annotations

from pathlib import Path

import pytest

from machines.attempt_spec import AttemptEvidence
from schemas.workflow.run import TraceMode
from tests.support.attempt_evidence import PROJECT, TITLE, Leaving, Left
from tests.support.machines import PATIENCE, Lab, attempt_spec, failure, settled, unnoticed

HOOK = """
    from playwright.async_api import async_playwright

    async def setup_context(*, api_name, api_parameters, cdp_url):
        playwright = await async_playwright().start()
        browser = await playwright.chromium.connect_over_cdp(cdp_url)
        context = await browser.new_context()

        async def cleanup():
            await context.close()
            await browser.close()
            await playwright.stop()

        return context, await context.new_page(), cleanup
"""


async def test_a_context_that_the_hook_brings_is_traced_until_the_hook_cleans_up(lab: Lab, tmp_path: Path) -> None:
    pool, version = lab.pool(), lab.version({**PROJECT, "hooks/setup_context.py": HOOK})
    for api, names in (("reads", ["trace-1.zip"]), ("fails", ["screenshot.png", "trace-1.zip"])):
        evidence = AttemptEvidence(tmp_path / api, TraceMode.ALWAYS)
        evidence.folder.mkdir()
        await pool.run_attempt(version, attempt_spec(api, evidence=evidence), unnoticed)
        left = Left(evidence, None)
        assert left.names == names
        assert left.calls()[:1] == ["goto"]
        assert evidence.page_url == (TITLE if api == "fails" else None)


@pytest.mark.parametrize(
    ("api", "message"),
    [
        ("waits", "The Attempt did not end within 6 seconds; it stood at api/waits.py:"),
        (
            "blocks_there",
            "The Attempt did not end within 6 seconds; it stood at api/blocks_there.py:6 (`time.sleep(600)`).",
        ),
        ("is_killed", "Process was ended by signal SIGKILL."),
        ("exits", "Process exited unexpectedly with code 3."),
        ("hogs", "Execution ran out of memory: its Machine used "),
    ],
)
async def test_a_context_of_the_hook_leaves_a_screenshot_without_its_process(
    lab: Lab, tmp_path: Path, api: str, message: str
) -> None:
    blocks = f"""
        import time

        async def automation(page):
            await page.goto("{TITLE}")
            time.sleep(600)
    """
    files = {**PROJECT, "api/blocks_there.py": blocks, "hooks/setup_context.py": HOOK}
    leaving = Leaving(lab, tmp_path / "evidence")
    (tmp_path / "evidence").mkdir()
    leaving.version = lab.version(files, memory_limit=800 * 1024**2)
    left = await leaving.run(api, timeout=6 if "did not end" in message else PATIENCE)
    assert left.report is not None
    assert failure(left.report).message.startswith(message)
    assert left.names == (["screenshot.png", "trace-1.zip"] if api == "waits" else ["screenshot.png"]), left
    assert (left.evidence.folder / "screenshot.png").read_bytes().startswith(b"\x89PNG")
    assert left.evidence.page_url == TITLE
    assert list(left.evidence.missing) == ([] if api == "waits" else ["trace"])
    await settled(leaving.pool)
    lab.assert_clean(leaving.pool.slots[0].machine)
    assert (await leaving.run("reads")).calls()[:1] == ["goto"], "it works on"
