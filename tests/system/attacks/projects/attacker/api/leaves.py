"""Leaves something wherever it can: in files, in the kernel, in its process, in the browser, and in other processes."""

import builtins
import contextlib
import ctypes
import http.cookiejar
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import remains


async def automation(page, params):
    left, refused = [], []
    for folder in remains.folders():
        try:
            with open(f"{folder}/left-by-an-attempt", "wb") as file:
                file.write(remains.MARK)
            left.append(folder)
        except OSError as error:
            refused.append(f"{folder}: {error.strerror}")
    for name, (fill, _) in remains.KERNEL.items():
        try:
            fill()
            left.append(name)
        except OSError as error:
            refused.append(f"{name}: {error.strerror}")
    jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
    urllib.request.install_opener(urllib.request.build_opener(jar))
    for number in (signal.SIGALRM, signal.SIGPROF):  # else the timers would end this very process
        signal.signal(number, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    signal.setitimer(signal.ITIMER_PROF, 0.05, 0.05)
    builtins.left_by_an_attempt = sys.left_by_an_attempt = socket.left_by_an_attempt = True
    os.environ["LEFT_BY_AN_ATTEMPT"] = "1"
    os.umask(0)
    random.seed(1)
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    detach()
    await in_the_browser(page)
    return {"left": left, "refused": refused}


def detach():
    """Leave a daemon with an abstract socket, which is nobody's child and has nothing of ours in its environment."""
    started, starts = os.pipe()
    if (pid := os.fork()) == 0:
        os.setsid()
        if os.fork() == 0:
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            with contextlib.suppress(PermissionError):
                end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                end.bind("\0" + remains.name())
                os.set_inheritable(end.fileno(), True)
            name = remains.name()
            os.chdir("/")
            os.execve("/bin/sleep", [name, "600"], {})
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(starts)
    os.read(started, 1)  # until the daemon is executed, which closes its end
    os.close(started)


async def in_the_browser(page):
    """Sign in at a site, in a context of the browser's own as well, and have things kept for other pages."""
    await page.route("**/*", answer)
    await page.goto("https://bank.test/")
    await page.evaluate("""async () => {
        document.cookie = 'login=1; max-age=9999';
        localStorage.setItem('login', '1');
        await caches.open('login').catch(() => null);
        await new Promise((done) => { indexedDB.open('login').onsuccess = done; });
    }""")
    session = await page.context.browser.new_browser_cdp_session()
    for method, parameters in (
        ("Storage.setCookies", {"cookies": [{"name": "login", "value": "1", "url": "https://bank.test/"}]}),
        ("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": "/tmp"}),
        ("Browser.grantPermissions", {"permissions": ["geolocation", "clipboardReadWrite"]}),
        ("Target.createTarget", {"url": "https://bank.test/"}),
    ):
        try:
            await session.send(method, parameters)
        except Exception:
            pass


async def answer(route):
    await route.fulfill(
        body="<title>bank</title>", content_type="text/html", headers={"cache-control": "max-age=9999", "etag": "login"}
    )
