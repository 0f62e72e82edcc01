"""Has Playwright's driver, and the browser behind it, read, write and start what is not the Attempt's."""

import asyncio
import json
import os
from pathlib import Path

from wire import Wire


async def automation(page, params):
    wire = Wire(page)
    told = {}

    async def attempt(what, asking):
        try:
            told[what] = repr(await asking)[:300]
        except (ValueError, TimeoutError) as error:
            told[what] = f"refused: {error}"[:300]
        except Exception as error:
            told[what] = f"refused: {type(error).__name__}: {error}"[:300]

    secret, outside = params["secret"], params["outside"]
    program = Path("program.sh")
    program.write_text(f"#!/bin/sh\nexec 2>/dev/null\ntouch {outside}/started-by-driver\nexec sleep 600\n")
    program.chmod(0o755)
    program = str(program.resolve())
    browser = page.context.browser._impl_obj._guid
    context = page.context._impl_obj._guid
    tab = page._impl_obj._guid

    for kind in wire.objects("BrowserType"):
        for method, extra in (
            ("launch", {}),
            ("launchPersistentContext", {"userDataDir": outside}),
            ("launchServer", {}),
            ("connectOverCDP", {"endpointURL": "http://127.0.0.1:1/"}),
        ):
            await attempt(
                f"{kind} {method}",
                wire.ask(kind, method, {"executablePath": program, "args": [], "timeout": 2000, **extra}),
            )
    for kind in wire.objects("Playwright"):
        await attempt("electron", wire.ask("electron", "launch", {"executablePath": program, "timeout": 2000}))
        await attempt("newRequest", wire.ask(kind, "newRequest", {"timeout": 2000}))
    for utilities in wire.objects("LocalUtils"):
        await attempt("harOpen", wire.ask(utilities, "harOpen", {"file": secret}))
        await attempt(
            "zip",
            wire.ask(
                utilities,
                "zip",
                {"zipFile": f"{outside}/zip.zip", "entries": [{"name": "x", "value": secret}], "mode": "write",
                 "includeSources": False},
            ),
        )  # fmt: skip
        await attempt("connect", wire.ask(utilities, "connect", {"endpoint": "ws://127.0.0.1:1/", "timeout": 2000}))
        await attempt("tracingStarted", wire.ask(utilities, "tracingStarted", {"tracesDir": outside, "traceName": "x"}))
    await attempt("startServer", wire.ask(browser, "startServer", {"title": "x"}))
    for tracing in wire.objects("Tracing"):
        await attempt("tracing", wire.ask(tracing, "tracingStart", {"name": "../../outside", "snapshots": True}))
    await attempt(
        "video",
        wire.ask(browser, "newContext", {"recordVideo": {"dir": outside, "size": {"width": 100, "height": 100}}}),
    )
    await attempt("har", wire.ask(context, "harStart", {"options": {"path": f"{outside}/har.har", "content": "embed"}}))
    await page.set_content("<input type=file><a href='data:text/plain,x' download=x>x</a>")
    frame = page.main_frame._impl_obj._guid
    await attempt(
        "setInputFiles",
        wire.ask(
            frame, "setInputFiles", {"selector": "input", "localPaths": [secret], "strict": True, "timeout": 2000}
        ),
    )
    told["upload"] = await page.evaluate("""async () => {
        const file = document.querySelector('input').files[0];
        return file ? await file.text().catch((error) => '') : '';
    }""")
    try:
        async with page.expect_download(timeout=5000) as download:
            await page.click("a")
        artifact = (await download.value)._impl_obj._artifact._guid
        await attempt("saveAs", wire.ask(artifact, "saveAs", {"path": f"{outside}/download"}))
    except Exception as error:
        told["download"] = str(error)[:200]
    await by_the_browsers_protocol(page, attempt, told, secret, outside)
    await asyncio.sleep(0.5)  # what has been started has started by then
    told["pages"] = await contents(page, secret)
    return told


async def by_the_browsers_protocol(page, attempt, told, secret, outside):
    """The same by CDP, where Playwright's driver only passes commands on."""
    session = await page.context.browser.new_browser_cdp_session()
    own = await page.context.new_cdp_session(page)
    await attempt(
        "CDP download", session.send("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": outside})
    )
    await attempt(
        "CDP page download", own.send("Page.setDownloadBehavior", {"behavior": "allow", "downloadPath": outside})
    )
    await page.evaluate("document.querySelector('a').click()")
    document = await own.send("DOM.getDocument")
    field = await own.send("DOM.querySelector", {"nodeId": document["root"]["nodeId"], "selector": "input"})
    await attempt("CDP files", own.send("DOM.setFileInputFiles", {"nodeId": field["nodeId"], "files": [secret]}))
    told["CDP upload"] = await page.evaluate("""async () => {
        const file = document.querySelector('input').files[0];
        return file ? await file.text().catch((error) => '') : '';
    }""")
    for url in (f"file://{secret}", f"FILE://{secret}", f"view-source:file://{secret}", f"\tfile://{secret}"):
        await attempt(f"CDP target {url!r}", session.send("Target.createTarget", {"url": url}))
        await attempt(f"CDP navigate {url!r}", own.send("Page.navigate", {"url": url}))
    await attempt("CDP resource", own.send("Network.loadNetworkResource",
                  {"url": f"file://{secret}", "options": {"disableCache": True, "includeCredentials": False},
                   "frameId": (await own.send("Page.getFrameTree"))["frameTree"]["frame"]["id"]}))  # fmt: skip
    # A session inside a session: its commands are text, which a relay does not look into.
    made = await session.send("Target.createTarget", {"url": "about:blank"})
    inner = await session.send("Target.attachToTarget", {"targetId": made["targetId"], "flatten": False})
    await attempt("CDP nested", session.send("Target.sendMessageToTarget", {
        "sessionId": inner["sessionId"],
        "message": json.dumps({"id": 1, "method": "Page.navigate", "params": {"url": f"file://{secret}"}}),
    }))  # fmt: skip


async def contents(page, secret):
    """What all pages of the browser show by now."""
    session = await page.context.browser.new_browser_cdp_session()
    shown = []
    for target in (await session.send("Target.getTargets"))["targetInfos"]:
        if target["type"] != "page":
            continue
        told = asyncio.get_running_loop().create_future()
        session.once("Target.receivedMessageFromTarget", lambda event, told=told: told.done() or told.set_result(event))
        inner = await session.send("Target.attachToTarget", {"targetId": target["targetId"], "flatten": False})
        await session.send("Target.sendMessageToTarget", {
            "sessionId": inner["sessionId"],
            "message": json.dumps({"id": 1, "method": "Runtime.evaluate",
                                   "params": {"expression": "document.documentElement.innerText"}}),
        })  # fmt: skip
        try:
            shown.append(str(await asyncio.wait_for(told, 4))[:600])
        except TimeoutError:
            shown.append("")
    return shown
