"""Makes the pictures of the pages that the README and the docs show: `make screenshots`.

They show the example projects on a stack of their own, with Runs of every kind, in a browser with both themes.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import httpx
from playwright.async_api import Browser, Locator, Page, async_playwright, expect

REPOSITORY = Path(__file__).parents[2]
sys.path.insert(0, str(REPOSITORY))

# These modules are found because of the line above.
from callboard.dev.dev import DevStack  # noqa: E402
from callboard.machines.browser_program import browser_args, find_browser  # noqa: E402
from callboard.settings import Settings  # noqa: E402
from examples.caller import Caller  # noqa: E402
from examples.demo import site_beside  # noqa: E402
from examples.site.accounts import ACCOUNTS  # noqa: E402

IMAGES = REPOSITORY / "docs" / "images"
PROJECTS = REPOSITORY / "examples" / "projects"
LARGEST = 200_000
"""Most bytes of a picture, as a README is read over any connection."""
CONSENT = """
from callboard_runtime import hand_over

FORM = '''<style>body { font: 22px sans-serif } * { font: inherit } form > * { position: absolute; left: 40px }</style>
<form><b style="top: 30px">Before you go on</b><input placeholder="Name" style="top: 90px">
<select style="top: 150px"><option>Monthly invoice<option>Yearly invoice<option>Prepaid</select>
<button style="top: 220px">I agree</button></form>'''


async def automation(page, params, **_kwargs):
    await page.set_viewport_size({"width": 900, "height": 520})
    await page.set_content(FORM)
    await hand_over(page, "Fill in the terms, and agree", timeout=600)
"""
"""An API that hands its browser over."""
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


@asynccontextmanager
async def example_stack(folder: Path) -> AsyncGenerator[tuple[DevStack, str, httpx.AsyncClient]]:
    """Run the stack, and yield it with the address of the example site and a client of its API."""
    projects = folder / "projects"
    projects.mkdir()
    for project in ("shop", "orders"):
        (projects / project).symlink_to(PROJECTS / project)
    recorded = {"authSessions": {"enabled": True, "type": "MANUAL"}, "browserSize": {"width": 900, "height": 520}}
    for project, settings in (("desk", {}), ("accounts", recorded)):
        (projects / project / "api").mkdir(parents=True)
        (projects / project / "api" / "consent.py").write_text(CONSENT)
        written = {"projectName": project, "apiAccess": {"enabled": True}, **settings}
        (projects / project / "Intuned.jsonc").write_text(json.dumps(written))
    (projects / "accounts" / "auth-sessions").mkdir()
    (projects / "accounts" / "auth-sessions" / "check.py").write_text("async def check(page, **_):\n    return True\n")
    settings = Settings(data_dir=folder / "data", api_keys=[], secret_key=[], port=0, viewer_port=0)
    stack = DevStack(projects, settings, temporal_port=0, ui_port=0, report=print)
    async with site_beside(settings, {"--site-port": 0}) as (site,), stack:
        await stack.projects.wait_for_first_deploys(timedelta(minutes=2))
        base = f"{stack.url}/api/v1/workspace/{stack.settings.workspace}/projects/shop"
        async with httpx.AsyncClient(
            base_url=base, headers={"x-api-key": stack.api_key}, timeout=90, trust_env=False
        ) as caller:
            yield stack, site, caller


async def populate(caller: httpx.AsyncClient, site: str) -> str:
    """Start Runs of every kind, and return the id of one that has failed."""

    async def start(api: str, parameters: dict[str, Any], **fields: Any) -> str:
        body = {"api": api, "parameters": {"baseUrl": site, **parameters}, **fields}
        answer = await caller.post("/run/start", json=body)
        answer.raise_for_status()
        return answer.json()["runId"]

    async def ended(run_id: str) -> str:
        (await caller.get(f"/run/{run_id}/result?wait=60")).raise_for_status()
        return run_id

    for number in range(4):
        await ended(await start("products/details", {"id": number + 1}))
    await ended(await start("list-products", {"pages": 2}, sink={"type": "webhook", "url": f"{site}/inbox"}))
    await ended(await start("flaky", {"key": "screenshots", "failures": 1}))
    canceled = await start("slow", {"seconds": 60})
    await caller.post(f"/run/{canceled}/cancel?wait=30")
    failed = await ended(await start("products/details", {"id": 4000}, retry={"maximumAttempts": 2}))
    for _ in range(3):
        await start("slow", {"seconds": 120})
    return failed


async def heal(stack: DevStack, site: str) -> str:
    """Have the shop forget a login, start a Run that uses it, and return the id of that."""
    alice = ACCOUNTS["alice"]
    async with Caller.of(stack) as caller:
        await caller.log_in("orders", "alice", {"baseUrl": site, "user": alice.user, "password": alice.password})
        async with httpx.AsyncClient(trust_env=False) as shop:
            (await shop.post(f"{site}/accounts/{alice.user}/expire")).raise_for_status()
        body = {"api": "list-orders", "parameters": {"baseUrl": site}, "authSession": {"id": "alice"}}
        return (await caller.run("orders", body))["runId"]


async def picture(
    browser: Browser, stack: DevStack, site: str, failed: str, healed: str, theme: Literal["light", "dark"]
) -> None:
    """Take pictures of the main pages in one theme."""
    context = await browser.new_context(
        base_url=stack.url,
        color_scheme=theme,
        viewport={"width": 1200, "height": 860},
        locale="en-GB",
        reduced_motion="reduce",
    )
    page = await context.new_page()
    await page.goto("/sign-in?next=/projects/shop/runs")
    await page.get_by_label("API key").fill(stack.api_key)
    await page.keyboard.press("Enter")
    await expect(page.locator(".s-started")).to_have_count(2, timeout=30_000)
    await keep(page, f"runs-{theme}")
    await page.goto(f"/projects/shop/runs/{failed}")
    await expect(page.locator("h1 + .status")).to_have_text("failed")
    await page.wait_for_load_state("networkidle")  # The page loads a screenshot and the log.
    await keep(page, f"run-{theme}")
    await page.goto(f"/projects/orders/runs/{healed}")
    await expect(page.locator("h1 + .status")).to_have_text("completed")
    await page.wait_for_load_state("networkidle")
    await keep(page.get_by_role("region", name="Timeline"), f"login-{theme}")
    await page.goto("/projects/shop/runs?api=list-products")
    run_id = (await page.locator(".what .id").first.inner_text()).strip()
    await page.goto(f"/projects/shop/playground?run={run_id}")
    await expect(page.locator("h2 + .status")).to_have_text("completed")
    await keep(page, f"playground-{theme}")
    await hands(page, stack, f"hands-{theme}")
    await record(page, stack, site, f"record-{theme}")
    await context.close()


async def hands(page: Page, stack: DevStack, name: str) -> None:
    """Take the browser of a Run that hands it over, and keep a picture of that."""
    started = await page.request.post(
        f"{stack.url}/api/v1/workspace/{stack.settings.workspace}/projects/desk/run/start",
        headers={"x-api-key": stack.api_key},
        data={"api": "consent", "parameters": {}},
    )
    run_id = (await started.json())["runId"]
    await page.goto("/projects/desk/handoffs")
    await page.get_by_role("button", name="Take over").click(timeout=60_000)
    await expect(page.get_by_role("button", name="Give back")).to_be_visible(timeout=30_000)
    await press(page, 100, 105, of=900)
    await page.keyboard.type("Maria")
    await press(page, 100, 165, of=900)
    await expect(page.locator("[data-asking] select")).to_be_visible(timeout=30_000)
    await page.evaluate("document.querySelector('.live').scrollIntoView()")
    await keep(page, name)
    await page.request.post(
        f"{stack.url}/api/v1/workspace/{stack.settings.workspace}/projects/desk/run/{run_id}/cancel?wait=30",
        headers={"x-api-key": stack.api_key},
    )


async def record(page: Page, stack: DevStack, site: str, name: str) -> None:
    """Record a login at the example site, and keep a picture of that."""
    await page.goto("/projects/accounts/auth-sessions")
    form = page.locator("form[action$='/auth-sessions/record']")
    await form.get_by_label("Start address").fill(f"{site}/login")
    await form.get_by_label("ID").fill("maria@shop")
    await form.get_by_role("button").click()
    await page.get_by_role("button", name="Take over").click(timeout=60_000)
    await expect(page.get_by_role("button", name="Give back")).to_be_visible(timeout=30_000)
    await press(page, 230, 160, of=900)
    await page.keyboard.type("maria")
    for _ in range(4):  # the caret blinks, so pictures come
        async with page.expect_response(lambda answer: "/live?" in answer.url and answer.status == 200):
            pass
    await page.evaluate("document.querySelector('#record').scrollIntoView()")
    await keep(page, name)
    operation = page.url.rpartition("/")[2]
    await page.request.post(
        f"{stack.url}/api/v1/workspace/{stack.settings.workspace}/projects/accounts/run/{operation}/cancel?wait=30",
        headers={"x-api-key": stack.api_key},
    )


async def press(page: Page, x: float, y: float, *, of: int) -> None:
    """Press the mouse at this place of the page in the live view, which is so wide."""
    canvas = page.locator("canvas")
    await canvas.evaluate("canvas => canvas.scrollIntoView({block: 'center'})")
    box = await canvas.bounding_box()
    if box is None:
        raise AssertionError("The live view is not shown.")
    scale = box["width"] / of
    await canvas.click(position={"x": x * scale, "y": y * scale})


async def keep(shown: Page | Locator, name: str) -> None:
    """Save the visible part of a page, or an element, as a file."""
    file = IMAGES / f"{name}.png"
    await shown.screenshot(path=file)
    size = file.stat().st_size
    print(f"{file.relative_to(REPOSITORY)}: {size:,} bytes")
    if size > LARGEST:
        sys.exit(f"{file.name} is larger than {LARGEST:,} bytes.")


async def main() -> None:
    """Make all pictures; see the module's docstring."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="callboard-screenshots-") as folder:
        async with example_stack(Path(folder)) as (stack, site, caller), async_playwright() as playwright:
            failed = await populate(caller, site)
            healed = await heal(stack, site)
            browser = await playwright.chromium.launch(executable_path=find_browser(None), args=browser_args())
            for theme in THEMES:
                await picture(browser, stack, site, failed, healed, theme)
            await browser.close()
            stack.skip_grace()  # Running Runs were only started to be seen.


if __name__ == "__main__":
    asyncio.run(main())
