"""What user code does with its page, on the warm browser of a Machine."""

from __future__ import annotations

from tests.support.machines import Lab, Run, attempt_spec, unnoticed, value

PROJECT = {
    "api/looks_around.py": """
        async def automation(page):
            return {
                "agent": await page.evaluate("navigator.userAgent"),
                "viewport": page.viewport_size,
                "inner": await page.evaluate("[innerWidth, innerHeight]"),
                "pages": len(page.context.pages),
                "url": page.url,
            }
    """,
    "api/sent_headers.py": """
        async def automation(page):
            seen = {}
            async def answer(route):
                seen.update(await route.request.all_headers())
                await route.fulfill(body="")
            await page.route("**/*", answer)
            await page.goto("http://shop.test/")
            return seen
    """,
    "api/popup.py": """
        async def automation(page):
            await page.set_content("<button onclick=\\"window.open('about:blank').document.title = 'up'\\">go</button>")
            async with page.expect_popup() as popup:
                await page.click("button")
            return [await (await popup.value).title(), len(page.context.pages)]
    """,
    "api/pages.py": """
        import asyncio

        async def automation(page):
            pages = [page, *[await page.context.new_page() for _ in range(3)]]
            await asyncio.gather(*[p.set_content(f"<title>{n}</title>") for n, p in enumerate(pages)])
            await page.close()
            return [await p.title() for p in pages[1:]]
    """,
    "api/closes_its_context.py": """
        async def automation(page):
            await page.context.close()
            return "closed"
    """,
    "api/dialogs.py": """
        async def automation(page):
            said = []
            async def accept(dialog):
                said.append(dialog.message)
                await dialog.accept("Ada")
            unheard = await page.evaluate("confirm('sure?')")
            page.on("dialog", accept)
            return [unheard, await page.evaluate("prompt('who?')"), said]
    """,
    "api/stays_in_a_dialog.py": """
        async def automation(page):
            page.on("dialog", lambda dialog: None)
            await page.evaluate("setTimeout(() => { alert('hello'); }, 0)")
            await page.wait_for_event("dialog")
    """,
    "api/will_not_leave.py": """
        async def automation(page):
            await page.set_content("<button>x</button><script>onbeforeunload = e => e.preventDefault()</script>")
            await page.click("button")
            await page.evaluate("setTimeout(() => { while (true) {} }, 0)")
            return "left"
    """,
    "api/downloads.py": """
        from pathlib import Path

        async def automation(page):
            await page.set_content("<a download='words.txt' href='data:text/plain,hello'>get</a>")
            async with page.expect_download() as downloading:
                await page.click("a")
            download = await downloading.value
            await download.save_as("got/words.txt")
            return [download.suggested_filename, Path("got/words.txt").read_text(), (await download.path()).read_text()]
    """,
    "form/upload.txt": "of the project",
    "api/uploads.py": """
        async def automation(page):
            await page.set_content("<input type='file'>")
            await page.set_input_files("input", "form/upload.txt")
            return await page.evaluate("document.querySelector('input').files[0].text()")
    """,
    "api/screenshots.py": """
        from pathlib import Path

        async def automation(page):
            await page.set_content("<h1>hello</h1>")
            await page.screenshot(path="shots/page.png")
            await page.pdf(path="shots/page.pdf")
            await page.context.storage_state(path="shots/state.json")
            return sorted(p.name for p in Path("shots").iterdir() if p.stat().st_size)
    """,
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
    other = lab.version(PROJECT, width=333, height=444)
    seen = value(await lab.pool().run_attempt(other, attempt_spec("looks_around"), unnoticed))
    assert (seen["viewport"], seen["inner"]) == ({"width": 333, "height": 444}, [333, 444])


async def test_popups_are_pages_of_the_attempt(quiet: Run) -> None:
    assert value(await quiet("popup")) == ["up", 2]


async def test_several_pages_work_side_by_side_and_the_first_may_be_closed(quiet: Run) -> None:
    assert value(await quiet("pages")) == ["1", "2", "3"]


async def test_an_automation_may_close_its_context(quiet: Run) -> None:
    assert value(await quiet("closes_its_context")) == "closed"


async def test_dialogs_are_dismissed_until_the_automation_answers_them(quiet: Run) -> None:
    assert value(await quiet("dialogs")) == [False, "Ada", ["who?"]]


async def test_an_open_dialog_does_not_keep_the_context_open(quiet: Run) -> None:
    assert value(await quiet("stays_in_a_dialog")) is None
    assert value(await quiet("popup")) == ["up", 2]


async def test_a_page_that_will_not_leave_is_left(quiet: Run) -> None:
    assert value(await quiet("will_not_leave")) == "left"
    assert value(await quiet("popup")) == ["up", 2]


async def test_downloads_are_saved_by_relative_paths(quiet: Run) -> None:
    assert value(await quiet("downloads")) == ["words.txt", "hello", "hello"]


async def test_files_of_the_project_are_uploaded_by_relative_paths(quiet: Run) -> None:
    assert value(await quiet("uploads")) == "of the project"


async def test_screenshots_and_the_like_are_written_by_relative_paths(quiet: Run) -> None:
    assert value(await quiet("screenshots")) == ["page.pdf", "page.png", "state.json"]
