"""Looks for what an earlier Attempt has left, and returns where it has found it."""

import builtins
import os
import random
import signal
import socket
import sys
import threading
import urllib.request
from pathlib import Path

import remains


async def automation(page, params):
    found = [folder for folder in remains.folders() if os.path.lexists(f"{folder}/left-by-an-attempt")]
    found += [name for name, (_, find) in remains.KERNEL.items() if find() != -1]
    if remains.is_socket_left():
        found.append("abstract socket")
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if remains.name().encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append("daemon")
        except OSError:
            pass
    checks = {
        "cookie jar": urllib.request._opener is not None,
        "interval timer": signal.getitimer(signal.ITIMER_REAL) != (0.0, 0.0),
        "profiling timer": signal.getitimer(signal.ITIMER_PROF) != (0.0, 0.0),
        "patched module": any(hasattr(module, "left_by_an_attempt") for module in (builtins, sys, socket)),
        "variable": "LEFT_BY_AN_ATTEMPT" in os.environ,
        "umask": os.umask(0o22) == 0,
        "seed": random.random() == random.Random(1).random(),
        "thread": threading.active_count() > 1,
    }
    return found + [name for name, there in checks.items() if there] + await in_the_browser(page)


async def in_the_browser(page):
    found = []
    asked = []

    async def answer(route):
        asked.append(await route.request.all_headers())
        await route.fulfill(body="<title>now</title>", content_type="text/html")

    await page.route("**/*", answer)
    await page.goto("https://bank.test/")
    if not asked or "cookie" in asked[0] or "if-none-match" in asked[0]:
        found.append("HTTP cache or cookie")
    found += await page.evaluate("""async () => [
        document.cookie && 'cookie',
        localStorage.getItem('login') && 'storage',
        (await caches.has('login').catch(() => false)) && 'cache',
        (await indexedDB.databases()).some((each) => each.name === 'login') && 'database',
    ].filter(Boolean)""")
    session = await page.context.browser.new_browser_cdp_session()
    if (await session.send("Storage.getCookies"))["cookies"]:
        found.append("cookie of the browser's own context")
    targets = (await session.send("Target.getTargets"))["targetInfos"]
    if len([target for target in targets if target["type"] == "page" and "bank.test" in target["url"]]) > 1:
        found.append("page of the browser's own context")
    return found
