"""Has pages, and Playwright's driver, go to addresses by every way that there is."""

import asyncio
import re
from urllib.parse import quote, unquote

REQUEST_TIME = 1.5
"""Seconds in which the browser sends a request of a page that nobody can ask: whether one arrives is to be seen."""
IN_PAGE = """
async ({ target, datagrams }) => {
    const soon = () => ({ signal: AbortSignal.timeout(3000), mode: 'no-cors' });
    const element = (kind, fields) => new Promise((done) => {
        const made = Object.assign(document.createElement(kind), fields, { onload: done, onerror: done });
        document.body.append(made);
        setTimeout(done, 3000);
    });
    const framed = (html) => element('iframe', { srcdoc: html });
    const script = (text) => URL.createObjectURL(new Blob([text], { type: 'text/javascript' }));
    const socket = (made) => new Promise((done) => { made.onerror = made.onclose = done; setTimeout(done, 3000); });
    const ways = {
        fetch: () => fetch(`${target}/fetch`, soon()),
        image: () => element('img', { src: `${target}/image` }),
        script: () => element('script', { src: `${target}/script` }),
        style: () => element('link', { rel: 'stylesheet', href: `${target}/style` }),
        preload: () => element('link', { rel: 'preload', as: 'fetch', href: `${target}/preload` }),
        preconnect: () => element('link', { rel: 'preconnect', href: `${target}/preconnect` }),
        prefetch: () => element('link', { rel: 'prefetch', href: `${target}/prefetch` }),
        frame: () => element('iframe', { src: `${target}/frame` }),
        object: () => element('object', { data: `${target}/object` }),
        video: () => element('video', { src: `${target}/video` }),
        refresh: () => framed(`<meta http-equiv="refresh" content="0; url=${target}/refresh">`),
        form: () => framed(`<form method=post action="${target}/form"></form><script>document.forms[0].submit()</` + `script>`),
        redirect: () => fetch(`${target}/to?${encodeURIComponent(target + '/redirect')}`, soon()),
        'redirected frame': () => element('iframe', { src: `${target}/to?${encodeURIComponent(target + '/redirected-frame')}` }),
        socket: () => socket(new WebSocket(`${target.replace('http', 'ws')}/socket`)),
        events: () => socket(new EventSource(`${target}/events`)),
        beacon: () => navigator.sendBeacon(`${target}/beacon`, 'x'),
        ping: () => { const made = Object.assign(document.createElement('a'), { href: '#', ping: `${target}/ping` }); made.click(); },
        worker: () => socket(new Worker(script(`fetch('${target}/worker', { mode: 'no-cors' })`))),
        shared: () => new SharedWorker(script(`fetch('${target}/shared-worker', { mode: 'no-cors' })`)),
        transport: () => new WebTransport(`https://${new URL(target).host}/transport`).ready,
        rtc: async () => {
            const made = new RTCPeerConnection({ iceServers: datagrams.map((each) => ({ urls: `stun:${each}` })) });
            made.createDataChannel('x');
            await made.setLocalDescription(await made.createOffer());
            await new Promise((done) => setTimeout(done, 2000));
        },
        'service worker': async () => {
            const registration = await navigator.serviceWorker.register(`${target}/worker.js`);
            await new Promise((done) => setTimeout(done, 1500));
        },
    };
    const tried = await Promise.allSettled(Object.values(ways).map(async (way) => await way()));
    return Object.keys(ways).map((name, n) => [name, tried[n].status]);
}
"""


async def automation(page, params):
    told = {}
    for target in params["targets"]:
        await page.context.route(re.compile(re.escape(target) + "/(attack|to|worker.js)([?].*)?"), answer)
        told[target] = await visit(page.context, target, params.get("datagrams", []))
    return told


async def answer(route):
    """Serve the attacking page.

    It is at the address that it attacks, since Chromium itself would else forbid it to go there: that is a wall for
    pages of strange sites, and not one of ours.
    """
    path, _, query = route.request.url.rpartition("/")[2].partition("?")
    match path:
        case "to":
            await route.fulfill(status=302, headers={"location": unquote(query)})
        case "worker.js":
            await route.fulfill(body="fetch('/service-worker')", content_type="text/javascript")
        case _:
            await route.fulfill(body="<body>attack</body>", content_type="text/html")


async def visit(context, target, datagrams):
    told = {}

    async def attempt(name, asking):
        try:
            got = await asyncio.wait_for(asking, 10)
            told[name] = f"reached: {got}"[:200]
        except Exception as error:
            told[name] = str(error).partition("\n")[0][:200]

    async def navigate():
        page = await context.new_page()
        try:
            return (await page.goto(f"{target}/navigation", timeout=6000)).status
        finally:
            await page.close()

    async def redirected():
        page = await context.new_page()
        try:
            return (
                await page.goto(f"{target}/to?{quote(target, safe='')}%2Fredirected-navigation", timeout=6000)
            ).status
        finally:
            await page.close()

    async def pop_up():
        page = await context.new_page()
        try:
            await page.goto(f"{target}/attack")
            async with page.expect_popup(timeout=6000) as opened:
                await page.evaluate("(url) => { window.open(url); }", f"{target}/pop-up")
            await (await opened.value).wait_for_load_state(timeout=3000)
            return None
        finally:
            await page.close()

    async def in_page():
        page = await context.new_page()
        try:
            await page.goto(f"{target}/attack")
            return await page.evaluate(IN_PAGE, {"target": target, "datagrams": datagrams})
        finally:
            await page.close()

    async def other(**options):
        made = await context.browser.new_context(**options)
        try:
            page = await made.new_page()
            return (await page.goto(options.pop("url", f"{target}/other-context"), timeout=6000)).status
        finally:
            await made.close()

    async def proxied():
        made = await context.browser.new_context(proxy={"server": target})
        try:
            page = await made.new_page()
            return (await page.goto("http://anywhere.test/by-proxy", timeout=6000)).status
        finally:
            await made.close()

    async def by_protocol():
        page = await context.new_page()
        try:
            session = await context.new_cdp_session(page)
            tree = await session.send("Page.getFrameTree")
            return await session.send("Network.loadNetworkResource", {
                "frameId": tree["frameTree"]["frame"]["id"], "url": f"{target}/protocol",
                "options": {"disableCache": True, "includeCredentials": False},
            })  # fmt: skip
        finally:
            await page.close()

    async def context_by_protocol():
        session = await context.browser.new_browser_cdp_session()
        made = await session.send("Target.createBrowserContext", {"proxyServer": "direct://"})
        await session.send("Target.createTarget", {
            "browserContextId": made["browserContextId"], "url": f"{target}/direct-context"
        })  # fmt: skip
        await asyncio.sleep(REQUEST_TIME)
        return None

    async def default_context():
        session = await context.browser.new_browser_cdp_session()
        await session.send("Target.createTarget", {"url": f"{target}/default-context"})
        await asyncio.sleep(REQUEST_TIME)
        return None

    await attempt("page", in_page())
    await asyncio.gather(
        attempt("navigation", navigate()),
        attempt("redirected navigation", redirected()),
        attempt("pop-up", pop_up()),
        attempt("request", context.request.get(f"{target}/request", timeout=6000, max_redirects=0)),
        attempt("redirected request", context.request.get(f"{target}/request-to?x", timeout=6000)),
        attempt("other context", other()),
    )
    # These may be more than a browser can bear, so they come last.
    await attempt("proxy", proxied())
    await attempt("protocol", by_protocol())
    await attempt("default context", default_context())
    await attempt("context by protocol", context_by_protocol())
    return told
