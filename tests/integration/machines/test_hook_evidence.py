"""What is left of a context that a project's hook has brought, and what is said if its process cannot save it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.attempt_evidence import PROJECT, TITLE, Leaving
from tests.support.automations import automations, connecting_hook
from tests.support.machines import PATIENCE, Lab, failure

HOOK = connecting_hook("""
    context = await browser.new_context()
    async def close():
        await context.close()
        await cleanup()
    return context, await context.new_page(), close
""")


async def test_a_context_that_the_hook_brings_is_traced_until_the_hook_cleans_up(lab: Lab, tmp_path: Path) -> None:
    leaving = Leaving(lab, tmp_path)
    leaving.version = lab.version({**PROJECT, **HOOK})
    for api, names in (("reads", ["trace-1.zip"]), ("fails", ["screenshot.png", "trace-1.zip"])):
        left = await leaving.run(api)
        assert left.names == names
        assert left.calls()[:1] == ["goto"]
        assert left.evidence.page_url == (TITLE if api == "fails" else None)


@pytest.mark.parametrize(
    ("api", "message", "is_saved"),
    [
        ("waits", "The Attempt did not end within 6 seconds; it stood at api/waits.py:", True),
        (
            "blocks_there",
            "The Attempt did not end within 6 seconds; it stood at api/blocks_there.py:4 (`time.sleep(600)",
            False,
        ),
        ("exits", "Process exited unexpectedly with code 3.", False),
        ("hogs", "Execution ran out of memory: its Machine used ", False),
    ],
)
async def test_its_process_alone_can_save_what_is_left_of_it(
    lab: Lab, tmp_path: Path, api: str, message: str, is_saved: bool
) -> None:
    blocks = f"await page.goto('{TITLE}')\nimport time\ntime.sleep(600)"
    files = {**PROJECT, **automations(blocks_there=blocks), **HOOK}
    leaving = Leaving(lab, tmp_path / "evidence")
    (tmp_path / "evidence").mkdir()
    leaving.version = lab.version(files, memory_limit=800 * 1024**2)
    left = await leaving.run(api, timeout=6 if "did not end" in message else PATIENCE)
    assert left.report is not None
    assert failure(left.report).message.startswith(message)
    assert left.names == (["screenshot.png", "trace-1.zip"] if is_saved else [])
    assert left.evidence.page_url == (TITLE if is_saved else None)
    assert list(left.evidence.missing) == ([] if is_saved else ["trace", "screenshot"])
    lab.assert_clean(await lab.settled(leaving.pool))
    assert (await leaving.run("reads")).calls()[:1] == ["goto"], "it works on"


async def test_what_it_has_saved_before_its_cleanup_blocks_is_not_called_missing(lab: Lab, tmp_path: Path) -> None:
    hook = connecting_hook("""
        import time
        context = await browser.new_context()
        async def block():
            time.sleep(600)
        return context, None, block
    """)
    leaving = Leaving(lab, tmp_path / "evidence")
    (tmp_path / "evidence").mkdir()
    leaving.version = lab.version({**PROJECT, **hook})
    left = await leaving.run("fails", timeout=6)
    assert (left.names, left.evidence.missing) == (["screenshot.png", "trace-1.zip"], {})
