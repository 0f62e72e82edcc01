"""Addresses that lead into the machine itself are not opened, unless the project's settings allow it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from callboard_runtime.addresses import refusal

from tests.support.machines import Lab, Run, attempt_spec, failure, open_lab, unnoticed, value

# What all of these try to read is the content of one file. `try_` says how.
PROJECT = {
    "api/open.py": """
        async def automation(page, params):
            await page.goto(params["url"])
            return await page.content()
    """,
    "api/open_in.py": """
        from playwright.async_api import Error

        async def automation(page, params):
            url, browser = params["url"], page.context.browser
            match params["try"]:
                case "frame":
                    await page.set_content("<iframe srcdoc=nothing></iframe>")
                    page = page.frames[1]
                    await page.goto(url)
                case "another page":
                    page = await page.context.new_page()
                    await page.goto(url)
                case "another context":
                    page = await (await browser.new_context()).new_page()
                    await page.goto(url)
                case "a page of the browser":
                    page = await browser.new_page()
                    await page.goto(url)
                case "popup":
                    async with page.expect_popup() as popup:
                        await page.evaluate("window.open('about:blank') && 0")
                    page = await popup.value
                    await page.goto(url)
                case "base address":
                    folder, _, name = url.rpartition("/")
                    page = await browser.new_page(base_url=f"{folder}/")
                    await page.goto(name)
                case "CDP":
                    session = await page.context.new_cdp_session(page)
                    await session.send("Page.navigate", {"url": url})
                    await page.wait_for_load_state()
                case "CDP target":
                    session = await browser.new_browser_cdp_session()
                    await session.send("Target.createTarget", {"url": url})
                    return "opened"
            return await page.content()
    """,
    "api/page_goes.py": """
        async def automation(page, params):
            await page.goto(params["start"])
            async with page.context.expect_console_message(lambda said: params["url"] in said.text) as refused:
                await page.evaluate(params["script"], params["url"])
            texts = [await one.evaluate("document.documentElement.innerText") for one in page.context.pages]
            return [(await refused.value).text, *texts]
    """,
    "api/fine.py": """
        async def automation(page, params):
            await page.set_content("<p>set</p>")
            said = [await page.inner_text("p")]
            for url in ("data:text/html,<p>data</p>", "about:blank", params["url"]):
                await page.goto(url)
                said.append(await page.evaluate("document.body.innerText.trim()"))
            blob = await page.evaluate("URL.createObjectURL(new Blob(['<p>blob</p>'], {type: 'text/html'}))")
            await page.goto(blob)
            return [*said, await page.inner_text("p")]
    """,
}
SECRET = "the-secret-of-another-project"
REFUSED = " was refused: only http:, https:, data:, blob: and about: addresses may be opened. To allow all addresses, "


@pytest.fixture(scope="module")
async def run(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Run]:
    async with open_lab(tmp_path_factory.mktemp("guarded")) as lab:
        version, pool = lab.version(PROJECT), lab.pool()

        async def run(api: str, parameters: Any = None, **fields: Any) -> Any:
            return await pool.run_attempt(version, attempt_spec(api, parameters, **fields), unnoticed)

        yield run


@pytest.fixture
def secret(tmp_path: Path) -> str:
    file = tmp_path / ".env"
    file.write_text(SECRET)
    return file.as_uri()


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "file:/etc/passwd",
        "file://localhost/etc/passwd",
        " \x01\x1f file:///etc/passwd",
        "f\ni\tl\re:///etc/passwd",
        "view-source:file:///etc/passwd",
        "View-Source:https://example.com/",
        "filesystem:file:///temporary/x",
        "chrome://version",
        "Chrome:version",
        "chrome-untrusted://print",
        "chrome-extension://abc/x",
        "devtools://devtools/bundled/inspector.html",
        "javascript:alert(1)",
        "ftp://example.com/",
    ],
)
def test_an_address_that_leads_into_the_machine_is_refused(url: str) -> None:
    assert refusal(url)
    assert refusal("passwd", "file:///etc/")


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/file:///etc/passwd",
        "HTTPS://example.com",
        "about:blank",
        "data:text/html,x",
        "blob:https://example.com/1",
        "/relative",
        "?a=file:///x",
        "localhost:8080/x",
        "127.0.0.1:8080",
        "",
    ],
)
def test_any_other_address_is_left_to_the_browser(url: str) -> None:
    assert refusal(url) is None
    assert refusal(url, "https://example.com/") is None


async def test_the_refusal_of_an_address_names_the_setting_and_the_caller(run: Run, secret: str) -> None:
    failed = failure(await run("open", {"url": f"view-source:{secret}?a=b"}))
    assert failed.name == "Error"
    assert failed.message.startswith(f"Error: view-source:{secret}?***{REFUSED}")
    assert "set allowFileUrls to true in the project's settings file" in failed.message
    assert "api/open.py" in failed.stack


@pytest.mark.parametrize(
    "way",
    [
        "frame",
        "another page",
        "another context",
        "a page of the browser",
        "popup",
        "base address",
        "CDP",
        "CDP target",
    ],
)
async def test_it_is_refused_wherever_it_is_to_be_opened(run: Run, secret: str, way: str) -> None:
    failed = failure(await run("open_in", {"try": way, "url": secret}))
    assert REFUSED in failed.message
    assert SECRET not in f"{failed.message}{failed.stack}"


@pytest.mark.parametrize(
    "script",
    [
        "url => { location.href = url }",
        "url => { window.open(url) }",
        "url => { document.body.innerHTML = `<iframe src='${url}'></iframe>` }",
        "url => { document.body.innerHTML = `<a href='${url}'>x</a>`; document.querySelector('a').click() }",
        "url => { document.head.innerHTML = `<meta http-equiv=refresh content='0;${url}'>` }",
    ],
)
@pytest.mark.parametrize("start", ["about:blank", "data:text/html,<p>start</p>"])
async def test_pages_cannot_go_there_by_themselves(run: Run, secret: str, start: str, script: str) -> None:
    said, *texts = value(await run("page_goes", {"start": start, "script": script, "url": secret}))
    assert said == f"Not allowed to load local resource: {secret}"
    assert texts
    assert not any(SECRET in text for text in texts)


async def test_a_site_cannot_redirect_there(run: Run, secret: str) -> None:
    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 302 Found\r\nLocation: {secret}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(redirect, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert "ERR_UNSAFE_REDIRECT" in failure(await run("open", {"url": f"http://127.0.0.1:{port}/"})).message


async def test_pages_data_and_blobs_are_opened_as_ever(run: Run) -> None:
    assert value(await run("fine", {"url": "data:text/html,<p>file:///etc/passwd</p>"})) == [
        "set",
        "data",
        "",
        "file:///etc/passwd",
        "blob",
    ]


async def test_the_settings_can_allow_it(lab: Lab, secret: str) -> None:
    version = replace(lab.version(PROJECT), allow_file_urls=True)
    pool = lab.pool()
    assert SECRET in value(await pool.run_attempt(version, attempt_spec("open", {"url": secret}), unnoticed))


# A hook may have other programs control the browser; here, that is a Python of its own with a Playwright of its own.
FOREIGN = """
    import asyncio
    import sys

    from playwright.async_api import async_playwright

    async def main(cdp_url, where, url):
        async with async_playwright() as playwright:
            browser = await playwright.chromium.connect_over_cdp(cdp_url)
            context = browser.contexts[0] if where == "default context" else await browser.new_context()
            page = await context.new_page()
            if where == "target":
                session = await browser.new_browser_cdp_session()
                async with context.browser.contexts[0].expect_page() as opened:
                    await session.send("Target.createTarget", {"url": url})
                page = await opened.value
                await page.wait_for_load_state()
            else:
                await page.goto(url)
            print(await page.content())

    asyncio.run(main(*sys.argv[1:]))
"""
HOOKED = {
    "foreign.py": FOREIGN,
    "hooks/setup_context.py": """
        from intuned_runtime import attempt_store

        async def setup_context(*, api_name, api_parameters, cdp_url):
            attempt_store.set("cdp_url", cdp_url)
    """,
    "api/agent.py": """
        import asyncio
        import os
        import sys
        from pathlib import Path

        import playwright
        from intuned_runtime import attempt_store

        async def automation(page, params):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "foreign.py", attempt_store.get("cdp_url"), params["try"], params["url"],
                env={**os.environ, "PYTHONPATH": str(Path(playwright.__file__).parents[1])},
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            )
            printed = (await process.communicate())[0].decode()
            if process.returncode:
                raise RuntimeError(printed)
            return printed
    """,
    "api/brought.py": """
        from intuned_runtime import attempt_store
        from playwright.async_api import async_playwright

        async def automation(page, params):
            async with async_playwright() as playwright:
                browser = await playwright.chromium.connect_over_cdp(attempt_store.get("cdp_url"))
                page = await browser.contexts[0].new_page()
                try:
                    await page.goto(params["url"])
                    return await page.content()
                finally:
                    await page.close()
                    await browser.close()
    """,
}


@pytest.fixture(scope="module")
async def run_hooked(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Run]:
    async with open_lab(tmp_path_factory.mktemp("hooked")) as lab:
        version, pool = lab.version(HOOKED), lab.pool()

        async def run(api: str, parameters: Any = None, **fields: Any) -> Any:
            return await pool.run_attempt(version, attempt_spec(api, parameters, **fields), unnoticed)

        yield run


@pytest.mark.parametrize("where", ["default context", "new context"])
async def test_other_programs_that_control_the_browser_are_refused_files_too(
    run_hooked: Run, secret: str, where: str
) -> None:
    failed = failure(await run_hooked("agent", {"try": where, "url": secret}))
    assert "net::ERR_BLOCKED_BY_CLIENT" in failed.message
    assert f"{secret}{REFUSED}" in failed.message, "the sentence is told as well"
    assert "data" in value(await run_hooked("agent", {"try": where, "url": "data:text/html,data"}))
    assert failure(await run_hooked("agent", {"try": where, "url": "foo:bar"})).message.count(REFUSED) == 0


async def test_a_target_that_another_program_opens_at_a_file_does_not_have_it(run_hooked: Run, secret: str) -> None:
    report = await run_hooked("agent", {"try": "target", "url": secret})
    assert SECRET not in f"{report.result}{report.error}"


async def test_a_client_of_the_hook_in_the_same_process_is_refused(run_hooked: Run, secret: str) -> None:
    assert REFUSED in failure(await run_hooked("brought", {"url": secret})).message


async def test_other_programs_may_have_files_where_the_settings_allow_it(lab: Lab, secret: str) -> None:
    version = replace(lab.version(HOOKED), allow_file_urls=True)
    report = await lab.pool().run_attempt(
        version, attempt_spec("agent", {"try": "new context", "url": secret}), unnoticed
    )
    assert SECRET in value(report)
