"""What user code may send in a CDP session of a page exists in the browser, works, and ends with the page."""

from __future__ import annotations

import base64

from callboard.machines.runner.relay_policy import OF_PAGES, refusal_of_command
from tests.support.automations import automations
from tests.support.machines import Lab, value

PROTOCOL = {
    "hooks/setup_context.py": """
        from intuned_runtime import attempt_store

        async def setup_context(*, api_name, api_parameters, cdp_url):
            attempt_store.set("cdp_url", cdp_url)
    """,
    **automations(
        commands="""
            import json
            from urllib.parse import urlsplit
            from urllib.request import urlopen
            from intuned_runtime import attempt_store
            address = urlsplit(attempt_store.get("cdp_url")).netloc
            domains = json.load(urlopen(f"http://{address}/json/protocol"))["domains"]
            return [f"{domain['domain']}.{command['name']}" for domain in domains for command in domain["commands"]]
        """
    ),
}
USED = automations(
    uses="""
        session = await page.context.new_cdp_session(page)
        told = {}
        for method, given in params["commands"]:
            told[method] = await session.send(method, given)
        pdf = await session.send("IO.read", {"handle": told["Page.printToPDF"]["stream"], "size": 5})
        seen = await page.evaluate(
            "() => [navigator.userAgent, innerWidth, matchMedia('(prefers-color-scheme: dark)').matches,"
            " Intl.DateTimeFormat().resolvedOptions().timeZone, new Intl.NumberFormat().resolvedOptions().locale]"
        )
        return [seen, pdf["data"], sorted(cookie["name"] for cookie in await page.context.cookies())]
    """,
    sees="""
        seen = await page.evaluate("() => [navigator.userAgent, matchMedia('(prefers-color-scheme: dark)').matches]")
        return [seen[0] == "mine", seen[1]]
    """,
)
COMMANDS = [
    *[(f"{domain}.enable", {}) for domain in ("Page", "Network", "Runtime", "DOM", "Accessibility", "Performance")],
    ("Emulation.setDeviceMetricsOverride", {"width": 321, "height": 400, "deviceScaleFactor": 1, "mobile": False}),
    ("Emulation.setLocaleOverride", {"locale": "de-DE"}),
    ("Emulation.setTimezoneOverride", {"timezoneId": "Asia/Tokyo"}),
    ("Emulation.setGeolocationOverride", {"latitude": 1, "longitude": 2, "accuracy": 3}),
    ("Emulation.setUserAgentOverride", {"userAgent": "mine"}),
    ("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}),
    ("Emulation.setCPUThrottlingRate", {"rate": 2}),
    ("Emulation.setTouchEmulationEnabled", {"enabled": True}),
    ("Network.setExtraHTTPHeaders", {"headers": {"x-own": "1"}}),
    (
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 1, "downloadThroughput": -1, "uploadThroughput": -1},
    ),
    ("Network.setCookie", {"name": "own", "value": "1", "url": "http://shop.test/"}),
    ("Network.getAllCookies", {}),
    ("Fetch.enable", {"patterns": [{"urlPattern": "*.png"}]}),
    ("Accessibility.getFullAXTree", {}),
    ("DOM.getDocument", {}),
    ("DOMSnapshot.captureSnapshot", {"computedStyles": []}),
    ("Performance.getMetrics", {}),
    ("Profiler.enable", {}),
    ("Profiler.start", {}),
    ("Profiler.stop", {}),
    ("HeapProfiler.collectGarbage", {}),
    ("Memory.getDOMCounters", {}),
    ("Runtime.evaluate", {"expression": "1"}),
    ("Page.captureScreenshot", {}),
    ("Page.printToPDF", {"transferMode": "ReturnAsStream"}),
    ("Input.insertText", {"text": "x"}),
    ("Security.enable", {}),
    ("Browser.getVersion", {}),
    ("Target.getTargetInfo", {}),
]


async def test_each_command_that_is_allowed_is_one_of_the_browser(lab: Lab) -> None:
    known: list[str] = value(await lab.runner(PROTOCOL)("commands"))
    assert OF_PAGES - set(known) == set()
    allowed = {name for name in known if refusal_of_command(name) is None}
    domains = {name.partition(".")[0] for name in allowed}
    assert {name.partition(".")[0] for name in OF_PAGES} <= domains
    whole = {domain for domain in domains if all(name in allowed for name in known if name.startswith(f"{domain}."))}
    assert (
        whole & {"Browser", "Emulation", "Memory", "Network", "Page", "Security", "Storage", "Target", "Tracing"}
        == set()
    )


async def test_what_is_about_a_page_works_and_is_gone_with_it(lab: Lab) -> None:
    pool = lab.pool()
    run = lab.runner(USED, pool)
    assert value(await run("uses", {"commands": COMMANDS})) == [
        ["mine", 321, True, "Asia/Tokyo", "de-DE"],
        base64.b64encode(b"%PDF-").decode(),
        ["own"],
    ]
    assert await lab.settled(pool) is not None
    assert value(await run("sees")) == [False, False]
