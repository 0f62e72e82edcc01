"""Addresses that lead into the machine itself are not opened, unless the project's settings allow it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.automations import automations
from tests.support.machines import Lab, Language, Run, failure, value
from tests.support.typescript import handlers

# What all of these try to read is the content of one file. `try` says how.
PROJECT = automations(
    open="""
        await page.goto(params["url"])
        return await page.content()
    """,
    open_in="""
        url, browser, how = params["url"], page.context.browser, params["try"]
        if how == "popup":
            async with page.expect_popup() as popup:
                await page.evaluate("window.open('about:blank') && 0")
            page = await popup.value
        elif how == "frame":
            await page.set_content("<iframe srcdoc=nothing></iframe>")
            page = page.frames[1]
        elif how == "another page":
            page = await page.context.new_page()
        elif how == "another context":
            page = await (await browser.new_context()).new_page()
        elif how == "a page of the browser":
            page = await browser.new_page()
        elif how == "base address":
            folder, _, url = url.rpartition("/")
            page = await browser.new_page(base_url=f"{folder}/")
        elif how == "CDP":
            session = await page.context.new_cdp_session(page)
            return await session.send("Page.navigate", {"url": url})
        else:
            session = await browser.new_browser_cdp_session()
            return await session.send("Target.createTarget", {"url": url})
        await page.goto(url)
    """,
    page_goes="""
        await page.goto(params["start"])
        async with page.context.expect_console_message(lambda said: params["url"] in said.text) as refused:
            await page.evaluate(params["script"], params["url"])
        texts = [await one.evaluate("document.documentElement.innerText") for one in page.context.pages]
        return [(await refused.value).text, *texts]
    """,
    fine="""
        await page.set_content("<p>set</p>")
        said = [await page.inner_text("p")]
        for url in ("data:text/html,<p>data</p>", "about:blank", params["url"]):
            await page.goto(url)
            said.append(await page.evaluate("document.body.innerText.trim()"))
        blob = await page.evaluate("URL.createObjectURL(new Blob(['<p>blob</p>'], {type: 'text/html'}))")
        await page.goto(blob)
        return [*said, await page.inner_text("p")]
    """,
)
TYPESCRIPT = handlers(
    open_in="""
        let url = params.url;
        const browser = context.browser();
        if (params.try === "popup") {
            const popup = page.waitForEvent("popup");
            await page.evaluate("window.open('about:blank') && 0");
            page = await popup;
        } else if (params.try === "frame") {
            await page.setContent("<iframe srcdoc=nothing></iframe>");
            page = page.frames()[1];
        } else if (params.try === "another page") {
            page = await context.newPage();
        } else if (params.try === "another context") {
            page = await (await browser.newContext()).newPage();
        } else if (params.try === "a page of the browser") {
            page = await browser.newPage();
        } else if (params.try === "base address") {
            const end = url.lastIndexOf("/") + 1;
            page = await browser.newPage({ baseURL: url.slice(0, end) });
            url = url.slice(end);
        } else if (params.try === "CDP") {
            return await (await context.newCDPSession(page)).send("Page.navigate", { url });
        } else {
            return await (await browser.newBrowserCDPSession()).send("Target.createTarget", { url });
        }
        await page.goto(url);
    """,
)
SECRET = "the-secret-of-another-project"
REFUSED = " was refused: only http:, https:, data:, blob: and about: addresses may be opened. To allow all addresses, "


@pytest.fixture(scope="module")
def run(shared_lab: Lab, project: dict[str, str], language: Language) -> Run:
    return shared_lab.runner(shared_lab.version(project, project=language))


@pytest.fixture
def secret(tmp_path: Path) -> str:
    file = tmp_path / ".env"
    file.write_text(SECRET)
    return file.as_uri()


async def test_the_refusal_of_an_address_names_the_setting_and_the_caller(run: Run, secret: str) -> None:
    failed = failure(await run("open", {"url": f"view-source:{secret}?a=b"}))
    assert failed.name == "Error"
    assert failed.message.startswith(f"Error: view-source:{secret}?a=b{REFUSED}")
    assert "set allowFileUrls to true in the project's settings file" in failed.message
    assert "api/open.py" in failed.stack


WAYS = ("frame", "another page", "another context", "a page of the browser", "popup", "base address", "CDP", "target")


@pytest.mark.both_languages
@pytest.mark.parametrize("way", WAYS)
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
    opened = value(await run("fine", {"url": "data:text/html,<p>file:///etc/passwd</p>"}))
    assert opened == ["set", "data", "", "file:///etc/passwd", "blob"]


async def test_the_settings_can_allow_it_also_to_other_programs(lab: Lab, secret: str) -> None:
    run = lab.runner(replace(lab.version({**PROJECT, **HOOKED}), allow_file_urls=True))
    assert SECRET in value(await run("open", {"url": secret}))
    assert SECRET in value(await run("agent", {"try": "new context", "url": secret}))


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
    **automations(
        agent="""
            import asyncio, os, playwright, sys
            from intuned_runtime import attempt_store
            from pathlib import Path
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
        brought="""
            from intuned_runtime import attempt_store
            from playwright.async_api import async_playwright
            async with async_playwright() as playwright:
                browser = await playwright.chromium.connect_over_cdp(attempt_store.get("cdp_url"))
                page = await browser.contexts[0].new_page()
                try:
                    await page.goto(params["url"])
                finally:
                    await page.close()
                    await browser.close()
        """,
    ),
}


@pytest.fixture(scope="module")
def run_hooked(shared_lab: Lab) -> Run:
    return shared_lab.runner(shared_lab.version(HOOKED, project="hooked"), shared_lab.pool(project="hooked"))


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
