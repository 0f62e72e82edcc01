"""What user code does with its page, on the warm browser of a Machine."""

from __future__ import annotations

import pytest

from tests.support.automations import automations
from tests.support.machines import Lab, Run, value

PROJECT = {
    **automations(
        looks_around="""
            return {
                "agent": await page.evaluate("navigator.userAgent"),
                "viewport": page.viewport_size,
                "inner": await page.evaluate("[innerWidth, innerHeight]"),
                "pages": len(page.context.pages),
                "url": page.url,
            }
        """,
        sent_headers="""
            seen = {}
            async def answer(route):
                seen.update(await route.request.all_headers())
                await route.fulfill(body="")
            await page.route("**/*", answer)
            await page.goto("http://shop.test/")
            return seen
        """,
        popup="""
            await page.set_content("<button onclick=\\"window.open('about:blank').document.title = 'up'\\">go</button>")
            async with page.expect_popup() as popup:
                await page.click("button")
            return [await (await popup.value).title(), len(page.context.pages)]
        """,
        pages="""
            import asyncio
            pages = [page, *[await page.context.new_page() for _ in range(3)]]
            await asyncio.gather(*[p.set_content(f"<title>{n}</title>") for n, p in enumerate(pages)])
            await page.close()
            return [await p.title() for p in pages[1:]]
        """,
        closes_its_context="""
            await page.context.close()
            return "closed"
        """,
        dialogs="""
            said = []
            async def accept(dialog):
                said.append(dialog.message)
                await dialog.accept("Ada")
            unheard = await page.evaluate("confirm('sure?')")
            page.on("dialog", accept)
            return [unheard, await page.evaluate("prompt('who?')"), said]
        """,
        stays_in_a_dialog="""
            page.on("dialog", lambda dialog: None)
            await page.evaluate("setTimeout(() => { alert('hello'); }, 0)")
            await page.wait_for_event("dialog")
        """,
        will_not_leave="""
            await page.set_content("<button>x</button><script>onbeforeunload = e => e.preventDefault()</script>")
            await page.click("button")
            await page.evaluate("setTimeout(() => { while (true) {} }, 0)")
            return "left"
        """,
        downloads="""
            from pathlib import Path
            await page.set_content("<a download='words.txt' href='data:text/plain,hello'>get</a>")
            async with page.expect_download() as downloading:
                await page.click("a")
            download = await downloading.value
            await download.save_as("got/words.txt")
            return [download.suggested_filename, Path("got/words.txt").read_text(), (await download.path()).read_text()]
        """,
        uploads="""
            await page.set_content("<input type='file'>")
            await page.set_input_files("input", "form/upload.txt")
            return await page.evaluate("document.querySelector('input').files[0].text()")
        """,
        screenshots="""
            from pathlib import Path
            await page.set_content("<h1>hello</h1>")
            await page.screenshot(path="shots/page.png")
            await page.pdf(path="shots/page.pdf")
            await page.context.storage_state(path="shots/state.json")
            return sorted(p.name for p in Path("shots").iterdir() if p.stat().st_size)
        """,
    ),
    "form/upload.txt": "of the project",
}


async def test_the_user_agent_does_not_say_headless(quiet: Run) -> None:
    seen = value(await quiet("looks_around"))
    assert " Chrome/" in seen["agent"]
    assert "headless" not in seen["agent"].lower()
    headers = value(await quiet("sent_headers"))
    assert headers["user-agent"] == seen["agent"]


async def test_an_attempt_starts_with_one_blank_page_of_the_projects_size(quiet: Run, lab: Lab) -> None:
    seen = value(await quiet("looks_around"))
    assert (seen["pages"], seen["url"]) == (1, "about:blank")
    assert (seen["viewport"], seen["inner"]) == ({"width": 1024, "height": 800}, [1024, 800])
    seen = value(await lab.runner(lab.version(PROJECT, width=333, height=444))("looks_around"))
    assert (seen["viewport"], seen["inner"]) == ({"width": 333, "height": 444}, [333, 444])


@pytest.mark.parametrize(
    ("api", "told"),
    [
        ("popup", ["up", 2]),
        ("pages", ["1", "2", "3"]),
        ("closes_its_context", "closed"),
        ("dialogs", [False, "Ada", ["who?"]]),
        ("stays_in_a_dialog", None),
        ("will_not_leave", "left"),
        ("downloads", ["words.txt", "hello", "hello"]),
        ("uploads", "of the project"),
        ("screenshots", ["page.pdf", "page.png", "state.json"]),
    ],
)
async def test_an_automation_uses_its_page_as_playwright_has_it(quiet: Run, api: str, told: object) -> None:
    """Paths are those of the project; and whatever state the page is left in, the next Attempt works."""
    assert value(await quiet(api)) == told
    assert value(await quiet("popup")) == ["up", 2]
