"""An AuthSession's state in the browser before user code runs (docs/contract.md, section 4.5)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from callboard.machines.attempt_spec import AttemptReport, Proxy
from callboard.schemas.workflow.run import ErrorCode
from tests.support.automations import automations, connecting_hook
from tests.support.machines import Lab, Run, failure, value
from tests.support.recording_site import Site, cookie, running_site, state

PROJECT = {
    **automations(
        looks="""
            LOOK = "[{...localStorage}, {...sessionStorage}, document.cookie]"
            found = []
            for url in params["urls"]:
                await page.goto(url)
                found.append(await page.evaluate(LOOK))
            return found
        """,
        begins="""
            begin = [page.url, len(page.context.pages), await page.evaluate("[history.length, document.referrer]")]
            return [*begin, await page.go_back() is None, await page.context.storage_state()]
        """,
        loses_and_looks_again="""
            await page.goto(params["url"])
            await page.evaluate("sessionStorage.setItem('token', 'of the site'); sessionStorage.removeItem('other')")
            await page.evaluate("localStorage.removeItem('gone')")
            await page.goto(params["url"] + "/again")
            other = await page.context.new_page()
            await other.goto(params["url"])
            return [
                await page.evaluate("[{...sessionStorage}, {...localStorage}]"),
                await other.evaluate("({...sessionStorage})"),
            ]
        """,
        goes_into_a_sandbox="""
            errors = []
            page.on("pageerror", lambda error: errors.append(str(error)))
            await page.goto(params["url"])
            await page.set_content("<iframe sandbox='allow-scripts' src='/framed'></iframe>")
            await page.frames[1].wait_for_load_state()
            await page.goto("data:text/html,<title>data</title>")
            return errors
        """,
        tells="""
            import dataclasses
            from intuned_runtime import run_info
            told = dataclasses.asdict(run_info())
            run_info().auth_session["cookies"].clear()
            return told
        """,
    ),
    "api/later.py": """
        from intuned_runtime import deferred_browser

        @deferred_browser
        async def automation(params, ensure_browser):
            if not params["browser"]:
                return None
            context, page = await ensure_browser()
            return [cookie["value"] for cookie in await context.cookies()]
    """,
}


@pytest.fixture
async def sites() -> AsyncIterator[tuple[Site, Site]]:
    async with running_site() as one, running_site() as other:
        yield one, other


async def begun(run: Run, api: str, parameters: Any, session: Any, **fields: Any) -> AttemptReport:
    text = session if isinstance(session, str) else json.dumps(session)
    return await run(api, parameters, storage_state=text, **fields)


async def test_restores_cookies_and_storages_on_the_first_page_of_each_origin(
    quiet: Run, sites: tuple[Site, Site]
) -> None:
    one, other = sites
    given = state(
        cookie("sid", "s1"),
        cookie("seen", "yes", httpOnly=False),
        local={one.origin: {"token": "l1", "more": "l2"}, other.origin: {"token": "l3"}},
        session={one.origin: {"tab": "t1"}},
    )
    found = value(await begun(quiet, "looks", {"urls": [one.origin, other.origin]}, given))
    assert found == [
        [{"token": "l1", "more": "l2"}, {"tab": "t1"}, "seen=yes"],
        [{"token": "l3"}, {}, "seen=yes"],
    ]
    assert one.cookies == other.cookies == ["sid=s1; seen=yes"]


async def test_no_site_is_asked_for_anything_before_user_code_asks(quiet: Run, sites: tuple[Site, Site]) -> None:
    origins = [site.origin for site in sites]
    given = state(
        cookie("sid", "s1"),
        local={origin: {"token": "l"} for origin in origins},
        session={origin: {"tab": "t"} for origin in origins},
    )
    value(await begun(quiet, "begins", None, given, capture=True))
    assert [(site.connections, site.requests) for site in sites] == [(0, [])] * 2
    value(await begun(quiet, "looks", {"urls": origins}, given, capture=True))
    assert [site.requests for site in sites] == [["/"], ["/"]]


async def test_the_page_is_as_fresh_as_without_a_state(quiet: Run, sites: tuple[Site, Site]) -> None:
    given = state(cookie("sid", "s1"), local={site.origin: {"token": "l"} for site in sites})
    *with_state, stored = value(await begun(quiet, "begins", None, given))
    *without, nothing = value(await quiet("begins"))
    assert with_state == without == ["about:blank", 1, [1, ""], True]
    assert (len(stored["cookies"]), len(stored["origins"])) == (1, 2)
    assert nothing == {"cookies": [], "origins": []}, "the Attempt before has left something"


async def test_fills_missing_session_storage_and_fills_local_storage_once(quiet: Run, sites: tuple[Site, Site]) -> None:
    origin = sites[0].origin
    given = state(local={origin: {"gone": "g", "stays": "s"}}, session={origin: {"token": "t", "other": "o"}})
    (tab, local), new_tab = value(await begun(quiet, "loses_and_looks_again", {"url": origin}, given))
    assert tab == {"token": "of the site", "other": "o"}
    assert local == {"stays": "s"}
    assert new_tab == {"token": "t", "other": "o"}


async def test_documents_that_may_have_no_storage_are_left_alone(quiet: Run, sites: tuple[Site, Site]) -> None:
    origin = sites[0].origin
    given = state(session={origin: {"token": "t"}})
    assert value(await begun(quiet, "goes_into_a_sandbox", {"url": origin}, given)) == []


async def test_what_is_stored_comes_through_unchanged(quiet: Run, sites: tuple[Site, Site]) -> None:
    origin = sites[0].origin
    items = {"text": "ä€𝄞\u2028</script>`${x}`\\\"'", "none": "", "lone": "\ud800x\udc00", "\0": "\0"}
    given = state(local={origin: items}, session={origin: items})
    ((local, session, _),) = value(await begun(quiet, "looks", {"urls": [origin]}, given))
    assert local == session == items


async def test_a_state_may_have_more_and_less_than_it_should(quiet: Run, sites: tuple[Site, Site]) -> None:
    origin = sites[0].origin
    given = {
        "cookies": [
            {
                "name": "a",
                "value": "1",
                "domain": "127.0.0.1",
                "sameSite": "unspecified",
                "hostOnly": True,
                "storeId": 0,
            },
            cookie("old", "2", expires=1.5),
            cookie("long", "3", expires=4_102_444_800, httpOnly=False),
        ],
        "origins": [
            {"origin": f"{origin.upper()}/", "localStorage": [{"name": "l", "value": "1", "x": 1}], "indexedDB": []},
            {"origin": "chrome-extension://abcdef", "localStorage": [{"name": "l", "value": "1"}]},
            {"origin": sites[1].origin, "localStorage": None},
        ],
        "sessionStorage": None,
        "more": {},
    }
    found = value(await begun(quiet, "looks", {"urls": [origin]}, given))
    assert found == [[{"l": "1"}, {}, "a=1; long=3"]]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("[]", "not of the shape that a state has"),
        ("{", "not of the shape that a state has"),
        (state({"name": "sid", "value": "hidden-in-it"}), "not of the shape that a state has"),
        (state(cookie("sid", 5)), "not of the shape that a state has"),  # pyright: ignore[reportArgumentType]
        (state(cookie("a", "good"), cookie("sid", "hidden;in-it")), "does not take cookie 'sid' of 127.0.0.1"),
        (state(local={"http://": {"a": "b"}}), "could not be restored"),
    ],
)
async def test_a_failed_restore_is_an_auth_error_that_may_be_retried(quiet: Run, given: Any, says: str) -> None:
    failed = failure(await begun(quiet, "begins", None, given))
    assert (failed.code, failed.error.category) == (ErrorCode.SCRIPT_EXECUTION_EXCEPTION, "auth")
    assert not failed.final
    assert says in failed.message
    assert "in-it" not in failed.message
    assert value(await quiet("begins"))[1] == 1


async def test_user_code_gets_the_state_in_run_info_and_cannot_change_it(quiet: Run) -> None:
    given = state(cookie("sid", "s1"))
    report = await begun(quiet, "tells", None, given, run_info={"auth_session_id": "bob"}, capture=True)
    told = value(report)
    assert (told["auth_session_id"], told["auth_session"]) == ("bob", given)
    assert report.storage_state is None


async def test_a_deferred_automation_finds_the_state_in_its_browser(quiet: Run) -> None:
    assert value(await begun(quiet, "later", {"browser": True}, state(cookie("sid", "s1")))) == ["s1"]


async def test_an_attempt_with_a_proxy_restores_without_asking_it(quiet: Run, sites: tuple[Site, Site]) -> None:
    proxy, site = sites
    given = state(cookie("sid", "s1"), local={site.origin: {"token": "l"}, "https://shop.test": {"token": "l"}})
    *_, stored = value(await begun(quiet, "begins", None, given, proxy=Proxy(proxy.origin)))
    assert len(stored["origins"]) == 2
    assert proxy.connections == site.connections == 0


# What the hook brings is the parameter `brings`.
HOOKED = {
    **PROJECT,
    **connecting_hook("""
        brings = api_parameters["brings"]
        if brings == "a context of its own":
            context = await browser.new_context()
            url = api_parameters["urls"][0]
            await context.add_cookies([{"name": "hook", "value": "h", "url": url, "httpOnly": True}])
            return context, None, cleanup
        context = browser.contexts[0]
        if brings == "the page that it finds":
            return context, context.pages[0], cleanup
        return context, await context.new_page(), cleanup
    """),
}


@pytest.fixture(scope="module")
def hooked(shared_lab: Lab) -> Run:
    return shared_lab.runner(HOOKED)


@pytest.mark.parametrize(
    ("brings", "cookies", "stays"),
    [
        ("a context of its own", "hook=h; sid=s1", True),
        ("the page that it finds", "sid=s1", True),
        ("a page in the browser's own context", "sid=s1", False),
    ],
)
async def test_a_page_of_the_hook_has_the_state_and_keeps_the_hook_s_changes(
    hooked: Run, sites: tuple[Site, Site], brings: str, cookies: str, stays: bool
) -> None:
    origin = sites[0].origin
    given = state(cookie("sid", "s1"), local={origin: {"token": "l"}}, session={origin: {"tab": "t"}})
    machines: list[str] = []
    for _ in range(2):
        report = await begun(hooked, "looks", {"urls": [origin], "brings": brings}, given, capture=True)
        assert value(report) == [[{"token": "l"}, {"tab": "t"}, ""]]
        machines.append(report.machine)
    assert sites[0].cookies == [cookies] * 2
    assert (machines[0] == machines[1]) is stays


async def test_nothing_of_a_state_is_on_disk(quiet: Run, quiet_lab: Lab, sites: tuple[Site, Site]) -> None:
    needle = "needle-in-a-state"
    given = state(cookie("sid", needle), local={sites[0].origin: {"token": needle}})
    report = await begun(quiet, "looks", {"urls": [sites[0].origin]}, given)
    assert value(report)[0][0] == {"token": needle}
    await quiet_lab.settled(*quiet_lab.pools)
    files = [file for file in quiet_lab.scratch.rglob("*") if file.is_file() and not file.is_symlink()]
    assert [file for file in files if needle.encode() in file.read_bytes()] == []
