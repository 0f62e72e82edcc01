"""An AuthSession's state as an Attempt leaves it; check and create (docs/contract.md, section 4.5)."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable
from contextlib import contextmanager
from operator import itemgetter
from textwrap import dedent
from typing import Any

import pytest

from callboard.machines.attempt_spec import AttemptReport
from callboard.schemas.workflow.attempt import AttemptKind, AttemptStatus
from callboard.schemas.workflow.run import ErrorCode
from callboard.security.masking import Masker
from tests.support.automations import automations, connecting_hook
from tests.support.machines import Lab, Language, Run, failure, value
from tests.support.recording_site import Site, cookie, running_site, state
from tests.support.typescript import bundled, handlers

# What any of the functions does is told by what it is given: a site's address, and scripts for its page.
DOES = """
    async def does(page, given):
        for url in given.get("urls", []):
            await page.goto(url)
        if script := given.get("script"):
            await page.evaluate(script)
        if given.get("raises"):
            raise ValueError("it was asked to")
        if given.get("closes"):
            await page.context.close()
        return given.get("returns")
"""
PROJECT = {
    **automations(
        uses="from lib.does import does; return await does(page, params)",
        opens_more="""
            await page.goto(params["urls"][0])
            await page.evaluate("sessionStorage.setItem('tab', 'first')")
            for url in [params["urls"][0], params["urls"][1], "data:text/html,x", "about:blank"]:
                other = await page.context.new_page()
                await other.goto(url)
                if url.startswith("http"):
                    await other.evaluate("sessionStorage.tab = sessionStorage.more = 'later'")
            broken = await page.context.new_page()
            try:
                await broken.goto("http://127.0.0.1:9/")
            except Exception:
                pass
        """,
        spins="""
            await page.goto(params["urls"][0])
            await page.evaluate("setTimeout(() => { while (true) {} }, 0)")
            return "spins"
        """,
    ),
    "lib/does.py": DOES,
    "api/does_not_mind.py": """
        from intuned_runtime import deferred_browser

        @deferred_browser
        async def automation(params, ensure_browser):
            try:
                await ensure_browser()
            except Exception as error:
                return type(error).__name__
    """,
    "api/never.py": """
        from intuned_runtime import deferred_browser

        @deferred_browser
        async def automation(params, ensure_browser):
            return "no browser"
    """,
    "auth-sessions/create.py": """
        from lib.does import does

        async def create(page, params):
            await does(page, params)
            return object()
    """,
}
CHECK = """
    import json
    from pathlib import Path
    from lib.does import does

    class Odd:
        def __bool__(self):
            raise ArithmeticError("neither")

    async def check(page, *more):
        assert not more
        told = json.loads(Path(TOLD).read_text())
        returned = await does(page, told)
        return {"object": object(), "odd": Odd()}.get(returned, returned) if isinstance(returned, str) else returned
"""
_DOES = """
    async function does(page, given) {
        for (const url of given.urls ?? []) await page.goto(url);
        if (given.script) await page.evaluate(given.script);
        if (given.raises) throw new Error("it was asked to");
        if (given.closes) await page.context().close();
        return given.returns;
    }
"""
TYPESCRIPT = {
    path: f"{dedent(_DOES)}{source}"
    for path, source in {
        **handlers(uses="return await does(page, params)"),
        **bundled(
            {
                "auth-sessions/create.ts": """
                    export default async function* create(params, page, context) {
                        await does(page, params);
                        return "done";
                    }
                """,
            }
        ),
    }.items()
}
CHECK_IN_TYPESCRIPT = """
    export default async function check(page, context) {
        const told = JSON.parse(require("fs").readFileSync(TOLD, "utf8"));
        if (arguments.length !== 2 || page.context() !== context) throw new Error("others");
        const returned = await does(page, told);
        return returned === "object" ? {} : returned;
    }
"""


@pytest.fixture
async def sites() -> AsyncIterator[tuple[Site, Site]]:
    async with running_site() as one, running_site() as other:
        yield one, other


def left(report: AttemptReport) -> dict[str, Any]:
    """The state that was reported, in alphabetical order: that of the browser is its own."""
    assert report.status is AttemptStatus.COMPLETED, report.error
    assert report.storage_state is not None
    assert report.storage_state.isascii()
    found = json.loads(report.storage_state)
    found["cookies"].sort(key=itemgetter("name"))
    for place, storage in (("origins", "localStorage"), ("sessionStorage", "sessionStorage")):
        found[place].sort(key=itemgetter("origin"))
        for entry in found[place]:
            entry[storage].sort(key=itemgetter("name"))
    return found


async def used(run: Run, given: dict[str, Any], parameters: Any, *, api: str = "uses") -> AttemptReport:
    return await run(api, parameters, storage_state=json.dumps(given), capture=True)


@pytest.mark.both_languages
async def test_a_create_reports_the_state_in_the_exact_shape_of_the_contract(
    quiet: Run, sites: tuple[Site, Site]
) -> None:
    one, other = sites
    ends = int(time.time()) + 5000
    script = """localStorage.setItem("token", "\\ud800ä"); sessionStorage.setItem("length", "1");
                sessionStorage.setItem("tab", "t"); document.cookie = "seen=1; SameSite=Strict" """
    parameters = {
        "urls": [f"{other.origin}/?cookie=sid=s1;HttpOnly;Max-Age=5000;Path=/", f"{one.origin}/deep/page"],
        "script": script,
    }
    report = await quiet("", parameters, kind=AttemptKind.CREATE)
    assert (report.result, report.extended_payloads) == ("null", None)
    found = left(report)
    assert abs(found["cookies"][1].pop("expires") - ends) < 60
    own = {"domain": "127.0.0.1", "secure": False}
    seen = {"name": "seen", "value": "1", "path": "/deep", "expires": -1, "httpOnly": False, "sameSite": "Strict"}
    sid = {"name": "sid", "value": "s1", "path": "/", "httpOnly": True, "sameSite": "Lax"}
    items = [{"name": "length", "value": "1"}, {"name": "tab", "value": "t"}]
    assert found == {
        "cookies": [{**own, **seen}, {**own, **sid}],
        "origins": [{"origin": one.origin, "localStorage": [{"name": "token", "value": "\ud800ä"}]}],
        "sessionStorage": [{"origin": one.origin, "sessionStorage": items}],
    }


@pytest.mark.both_languages
async def test_what_was_created_can_be_restored_and_has_not_changed(quiet: Run, sites: tuple[Site, Site]) -> None:
    one, other = sites
    script = "localStorage.token = sessionStorage.tab = 'x'; document.cookie = 'long=1; Max-Age=99999999'"
    parameters = {"urls": [other.origin, f"{one.origin}/?cookie=sid=s1;HttpOnly"], "script": script}
    created = left(await quiet("", parameters, kind=AttemptKind.CREATE))
    for urls in ([], [one.origin], [one.origin, other.origin]):
        report = await used(quiet, created, {"urls": urls})
        assert (report.status, report.storage_state) == (AttemptStatus.COMPLETED, None)
    assert {*one.cookies[-1].split("; ")} == {*other.cookies[-1].split("; ")} == {"sid=s1", "long=1"}


@pytest.mark.parametrize(
    ("path", "script"),
    [
        ("/?cookie=sid=s2;HttpOnly", ""),
        ("/?cookie=sid=s1;HttpOnly;Max-Age=5000", ""),
        ("/?cookie=sid=gone;Max-Age=0", ""),
        ("/?cookie=new=1", ""),
        ("/", "localStorage.token = 'l2'"),
        ("/", "localStorage.removeItem('token')"),
        ("/", "sessionStorage.tab = 't2'"),
        ("/", "sessionStorage.clear()"),
    ],
)
async def test_what_the_site_has_changed_is_reported_with_all_the_rest(
    quiet: Run, sites: tuple[Site, Site], path: str, script: str
) -> None:
    one, other = sites
    given = state(
        cookie("sid", "s1"),
        cookie("stays", "1"),
        local={one.origin: {"token": "l"}, other.origin: {"stays": "1"}},
        session={one.origin: {"tab": "t"}, other.origin: {"stays": "1"}},
    )
    found = left(await used(quiet, given, {"urls": [f"{one.origin}{path}"], "script": script}))
    assert found != given
    assert cookie("stays", "1") in found["cookies"]
    assert given["origins"][1] in found["origins"]
    assert given["sessionStorage"][1] in found["sessionStorage"], "it was not open, so it cannot have changed"
    assert (await used(quiet, found, {"urls": [one.origin]})).storage_state is None


async def test_a_cookie_whose_end_is_put_off_by_seconds_has_not_changed(quiet: Run, sites: tuple[Site, Site]) -> None:
    given = state(cookie("sid", "s1", expires=time.time() + 1000))
    for age, changed in ((1020, False), (1200, True)):
        url = f"{sites[0].origin}/?cookie=sid=s1;HttpOnly;Path=/;Max-Age={age}"
        assert ((await used(quiet, given, {"urls": [url]})).storage_state is not None) is changed


async def test_session_storage_is_taken_of_every_open_page_that_has_one(quiet: Run, sites: tuple[Site, Site]) -> None:
    urls = [site.origin for site in sites]
    found = left(await quiet("opens_more", {"urls": urls}, capture=True))
    first, later = ({"more": "later", "tab": tab} for tab in ("first", "later"))
    assert found == state(session=dict(sorted({urls[0]: first, urls[1]: later}.items())))


async def test_nothing_is_reported_unless_it_is_asked_for_and_the_end_is_good(
    quiet: Run, sites: tuple[Site, Site]
) -> None:
    changes = {"urls": [f"{sites[0].origin}/?cookie=sid=s2"]}
    given = json.dumps(state(cookie("sid", "s1")))
    assert (await quiet("uses", changes, storage_state=given)).storage_state is None
    assert (await quiet("uses", {**changes, "raises": True}, storage_state=given, capture=True)).storage_state is None
    assert (await quiet("", {**changes, "raises": True}, kind=AttemptKind.CREATE)).storage_state is None
    report = await quiet("never", {}, storage_state=given, capture=True)
    assert (value(report), report.storage_state) == ("no browser", None)


async def test_captures_no_state_after_a_failed_restore(quiet: Run) -> None:
    report = await used(quiet, state(cookie("sid", "not;valid")), {}, api="does_not_mind")
    assert (value(report), report.storage_state) == ("StateError", None)


@contextmanager
def masking_threads() -> Generator[set[threading.Thread]]:
    """Collect the threads that make a masker, or mask a text, while the block lasts."""
    found: set[threading.Thread] = set()
    make, mask_text = Masker.__init__, Masker.mask_text

    def watched_make(masker: Masker, secrets: Iterable[str]) -> None:
        found.add(threading.current_thread())
        make(masker, secrets)

    def watched_mask_text(masker: Masker, text: str) -> str:
        found.add(threading.current_thread())
        return mask_text(masker, text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Masker, "__init__", watched_make)
        patch.setattr(Masker, "mask_text", watched_mask_text)
        yield found


async def test_an_attempt_stays_good_when_its_state_cannot_be_captured(
    quiet: Run, caplog: pytest.LogCaptureFixture
) -> None:
    given = state(cookie("sid", "s1-is-secret"))
    with caplog.at_level(logging.WARNING, "callboard.machines.machine"), masking_threads() as threads:
        report = await used(quiet, given, {"closes": True, "returns": "fine"})
    assert threads
    assert threading.main_thread() not in threads
    assert (value(report), report.storage_state) == ("fine", None)
    (warned,) = caplog.messages
    assert report.unkept is not None
    assert report.unkept.startswith("What the site has changed in its login is not kept: ")
    assert report.unkept in warned


@pytest.mark.both_languages
async def test_a_create_whose_state_cannot_be_captured_has_failed(quiet: Run) -> None:
    failed = failure(await quiet("", {"closes": True}, kind=AttemptKind.CREATE))
    assert failed.message.startswith("create has ended, but the state of its login could not be captured: ")
    assert (failed.code, failed.error.category) == (ErrorCode.SCRIPT_EXECUTION_EXCEPTION, "auth")
    assert not failed.final


async def test_capturing_is_not_on_the_automations_clock_and_is_bounded(quiet: Run, sites: tuple[Site, Site]) -> None:
    given = json.dumps(state(cookie("sid", "s1")))
    parameters = {"urls": [sites[0].origin]}
    # The page that spins is waited for as long as the clock is: both together are more than that.
    report = await quiet("spins", parameters, storage_state=given, capture=True, timeout=5)
    assert (value(report), report.storage_state) == ("spins", None)


Check = Callable[..., Awaitable[AttemptReport]]


@pytest.fixture(scope="module")
def check(shared_lab: Lab, project: dict[str, str], language: Language) -> Check:
    """Runs the project's check, which does what it is told by a file: it gets no parameters."""
    told = shared_lab.projects / "told.json"
    if language is Language.PYTHON:
        checks = {"auth-sessions/check.py": CHECK.replace("TOLD", repr(str(told)))}
    else:
        source = f"{dedent(CHECK_IN_TYPESCRIPT).replace('TOLD', repr(str(told)))}{dedent(_DOES)}"
        checks = bundled({"auth-sessions/check.ts": source})
    run = shared_lab.runner(shared_lab.version({**project, **checks}, project=language))

    async def check(does: dict[str, Any], **fields: Any) -> AttemptReport:
        told.write_text(json.dumps(does))
        return await run("", {"not": "given"}, kind=AttemptKind.CHECK, **fields)

    return check


@pytest.mark.both_languages
@pytest.mark.parametrize(
    ("returned", "worth"),
    [
        *((good, "true") for good in (True, 1, "object", {"user": "bob"})),
        *((bad, "false") for bad in (False, None, "", 0)),
    ],
)
async def test_a_check_is_what_its_answer_is_worth(check: Check, returned: Any, worth: str) -> None:
    report = await check({"returns": returned})
    assert (report.status, report.result) == (AttemptStatus.COMPLETED, worth)


async def test_an_empty_list_is_worth_nothing_in_python(check: Check) -> None:
    assert (await check({"returns": []})).result == "false"


async def test_an_answer_that_cannot_say_what_it_is_worth_is_a_failure(check: Check) -> None:
    failed = failure(await check({"returns": "odd"}))
    assert failed.message == "ArithmeticError: neither (auth-sessions/check.py:8)"
    assert (failed.name, failed.final) == ("ArithmeticError", False)


@pytest.mark.both_languages
async def test_a_check_sees_the_state_and_reports_what_has_changed_if_it_is_good(
    check: Check, sites: tuple[Site, Site]
) -> None:
    given = json.dumps(state(cookie("sid", "s1")))
    changes = {"urls": [f"{sites[0].origin}/?cookie=sid=s2"], "returns": True}
    report = await check(changes, storage_state=given, capture=True)
    assert sites[0].cookies == ["sid=s1"]
    assert {each["value"] for each in left(report)["cookies"]} == {"s2"}
    assert (await check({**changes, "returns": False}, storage_state=given, capture=True)).storage_state is None
    assert (await check(changes, storage_state=given)).storage_state is None


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (AttemptKind.CHECK, "auth-sessions/check.py is not in the project."),
        (AttemptKind.CREATE, "write `async def create(page, params)`"),
    ],
)
async def test_a_project_without_such_a_file_or_function_is_told_so_for_good(
    lab: Lab, kind: AttemptKind, says: str
) -> None:
    run = lab.runner({"auth-sessions/create.py": "x = 1", **automations(uses="...")})
    failed = failure(await run("", {}, kind=kind))
    assert says in failed.message
    assert failed.final


DEFERRED = """
    from intuned_runtime import deferred_browser

    @deferred_browser
    async def create(params, ensure_browser):
        return None
"""
HOOK = connecting_hook("""
    if api_parameters["own"]:
        return await browser.new_context(), None, cleanup
    return browser.contexts[0], browser.contexts[0].pages[0], cleanup
""")


async def test_a_deferred_create_has_its_browser_and_so_a_state(lab: Lab) -> None:
    run = lab.runner({"auth-sessions/create.py": DEFERRED})
    assert left(await run("", {}, kind=AttemptKind.CREATE)) == state()


@pytest.mark.parametrize("own", [True, False])
async def test_the_state_is_that_of_the_page_which_the_hook_has_brought(
    lab: Lab, sites: tuple[Site, Site], *, own: bool
) -> None:
    run, origin = lab.runner({**PROJECT, **HOOK}), sites[0].origin
    script = "localStorage.token = sessionStorage.tab = 'x'"
    parameters = {"urls": [f"{origin}/?cookie=sid=s1;HttpOnly"], "script": script, "own": own}
    expected = state(cookie("sid", "s1"), local={origin: {"token": "x"}}, session={origin: {"tab": "x"}})
    assert left(await run("", parameters, kind=AttemptKind.CREATE)) == expected
