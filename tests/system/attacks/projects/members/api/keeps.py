"""Looks for logins wherever one could be, keeps its own there, and looks again.

The password of a user is `secret-of-` and their name. There are two users, so that remains of anything else are not taken
for a name.
"""

import builtins
import ctypes
import http.cookiejar
import os
import re
import struct
import urllib.request
from pathlib import Path

from bank import ADDRESS, open_bank

SECRET = re.compile(rb"secret-of-(anna|bob)")
PROCESS_VM_READV = {"x86_64": 310, "aarch64": 270}[os.uname().machine]
AT_ONCE = 1024 * 1024
PLACES = ("/tmp", "/var/tmp", "/dev/shm", os.environ["HOME"], os.environ["TMPDIR"])


def in_memory():
    """All of this process's own memory, also what nothing refers to any more."""
    libc = ctypes.CDLL(None)
    buffer = ctypes.create_string_buffer(AT_ONCE)
    for line in Path("/proc/self/maps").read_text().splitlines():
        bounds, rights, *_ = line.split()
        if not rights.startswith("rw"):
            continue
        start, end = (int(bound, 16) for bound in bounds.split("-"))
        for place in range(start, end, AT_ONCE):
            length = min(AT_ONCE, end - place)
            ours = struct.pack("PN", ctypes.addressof(buffer), length)
            theirs = struct.pack("PN", place, length)
            got = libc.syscall(PROCESS_VM_READV, os.getpid(), ours, 1, theirs, 1, 0)
            if got > 0:
                yield buffer.raw[:got]


def in_files():
    for place in PLACES:
        for folder, _, names in os.walk(place):
            for name in names:
                try:
                    yield Path(folder, name).read_bytes()
                except OSError:
                    pass


async def in_the_browser(page):
    session = await page.context.browser.new_browser_cdp_session()
    yield repr((await session.send("Storage.getCookies"))["cookies"])
    yield repr((await session.send("Target.getTargets"))["targetInfos"])
    for context in page.context.browser.contexts:
        yield repr(await context.storage_state())
    await open_bank(page)
    yield await page.evaluate("[document.cookie, JSON.stringify(localStorage), window.name].join()")


async def names(page):
    found = set()
    for text in (*in_files(), *in_memory()):
        found.update(name.decode() for name in SECRET.findall(text))
    async for text in in_the_browser(page):
        found.update(name.decode() for name in SECRET.findall(text.encode()))
    return sorted(found)


async def keep(page):
    cookie = await page.evaluate("document.cookie")
    jar = http.cookiejar.CookieJar()
    jar.set_cookie(http.cookiejar.Cookie(
        0, "login", cookie, None, False, "bank.test", True, False, "/", True, False, None, False, None, None, {}
    ))  # fmt: skip
    urllib.request.install_opener(urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar)))
    builtins.kept = os.environ["KEPT"] = cookie
    for place in PLACES:
        try:
            Path(place, "kept").write_text(cookie)
        except OSError:
            pass
    await page.evaluate("window.name = document.cookie")
    session = await page.context.browser.new_browser_cdp_session()
    await session.send("Storage.setCookies", {"cookies": [{"name": "kept", "value": cookie, "url": ADDRESS}]})
    await session.send("Target.createTarget", {"url": f"about:blank#{cookie}"})


async def automation(page, params):
    before = await names(page)
    await keep(page)
    return {"before": before, "after": await names(page)}
