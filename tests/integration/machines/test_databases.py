"""IndexedDB in the state of an AuthSession (docs/contract.md, section 4.5), as sites keep their logins in it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from callboard.machines.attempt_spec import AttemptReport
from callboard.schemas.workflow.attempt import AttemptKind, AttemptStatus
from tests.support.automations import automations, connecting_hook
from tests.support.machines import Lab, Run, failure, value
from tests.support.recording_site import Site, running_site

# A library such as Firebase Auth keeps the user with his tokens so.
KEEP = """
    async function keep(given, name = 'firebaseLocalStorageDb') {
        const request = indexedDB.open(name, 3);
        const done = (each) => new Promise((ok, no) => { each.onsuccess = () => ok(each.result); each.onerror = no; });
        request.onupgradeneeded = () => {
            request.result.createObjectStore('users', { keyPath: 'id' }).createIndex('mail', 'mail', { unique: true });
            request.result.createObjectStore('values');
        };
        const database = await done(request);
        const transaction = database.transaction(['users', 'values'], 'readwrite');
        for (const [key, each] of Object.entries(given)) {
            if (each?.id) transaction.objectStore('users').put(each);
            else transaction.objectStore('values').put(each, key);
        }
        await new Promise((ok, no) => { transaction.oncomplete = ok; transaction.onabort = no; });
        return database;
    }
    async function kept(store, key) {
        const database = await keep({});
        const request = database.transaction(store).objectStore(store).get(key);
        return new Promise((ok) => { request.onsuccess = () => ok(request.result); });
    }
"""
PROJECT = {
    **automations(works='await page.goto(params["url"]); return await page.evaluate(params["script"])'),
    "auth-sessions/create.py": """
        async def create(page, params):
            await page.goto(params["url"])
            await page.evaluate(params["script"])
    """,
}
LOGS_IN = "await keep({ user: { id: 1, mail: 'ada@site.example', token: 'secret-of-ada', name: undefined } });"
READS = "return (await kept('users', 1))?.token;"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with running_site() as site:
        yield site


async def creating(run: Run, site: Site, script: str) -> AttemptReport:
    return await run("", given(site, script), kind=AttemptKind.CREATE, indexed_db=True)


def given(site: Site, script: str) -> dict[str, str]:
    return {"url": site.origin, "script": f"async () => {{ {KEEP} {script} }}"}


async def made(run: Run, site: Site, script: str = LOGS_IN) -> str:
    report = await creating(run, site, script)
    assert report.status is AttemptStatus.COMPLETED, report.error
    assert report.storage_state is not None
    return report.storage_state


async def used(run: Run, site: Site, login: str, script: str, *, indexed_db: bool = True, **more: str) -> AttemptReport:
    parameters = {**given(site, script), **more}
    return await run("works", parameters, storage_state=login, capture=True, indexed_db=indexed_db)


async def test_a_login_that_lives_in_indexed_db_is_kept_and_a_change_in_it_alone_is_one(quiet: Run, site: Site) -> None:
    login = await made(quiet, site)
    requests = len(site.requests)
    for script in (READS, f"{LOGS_IN} {READS}"):  # to write the same once more is no change
        report = await used(quiet, site, login, script)
        assert (value(report), report.storage_state, report.unkept) == ("secret-of-ada", None, None)
    assert site.requests[requests:] == ["/", "/"]
    renewed = (await used(quiet, site, login, LOGS_IN.replace("of-ada", "renewed"))).storage_state
    assert renewed is not None
    assert value(await used(quiet, site, renewed, READS)) == "secret-renewed"


async def test_without_the_setting_no_database_is_captured(quiet: Run, site: Site) -> None:
    login = await made(quiet, site)
    report = await used(quiet, site, login, READS, indexed_db=False)
    assert value(report) == "secret-of-ada"
    assert json.loads(report.storage_state or "") == {"cookies": [], "origins": [], "sessionStorage": []}


async def test_values_that_json_does_not_have_come_back(quiet: Run, site: Site) -> None:
    values = """
        const list = [1, undefined, NaN, -Infinity];
        const given = {
            dates: new Date(5), big: 10n ** 20n, expression: /a+/gi, error: new TypeError('no'), list,
            map: new Map([['a', { list }], [{}, new Set([1, 'b'])]]), twice: [list, list], looks: { o: [{ k: 1 }] },
            bytes: new Uint8Array([0, 255]), floats: new Float64Array([0.5, -0]), buffer: new Uint16Array([7]).buffer,
            none: null, empty: {}, text: 'ä\\ud800\\u2028',
        };
    """
    look = """
        const show = (each) => [
            Object.prototype.toString.call(each),
            typeof each === 'bigint' || each instanceof Date || each instanceof RegExp || each instanceof Error
                ? String(each)
                : each instanceof ArrayBuffer ? [...new Uint8Array(each)]
                : each?.[Symbol.iterator] && typeof each === 'object' ? [...each].map(show)
                : typeof each === 'object' && each !== null ? Object.entries(each).map(show)
                : String(each),
        ];
    """
    login = await made(quiet, site, f"{values} await keep({{ ...given, list2: 0 }});")
    script = f"""
        {values} {look}
        const names = Object.keys(given);
        const found = await Promise.all(names.map((name) => kept('values', name)));
        const twice = await kept('values', 'twice');
        return [found.map(show), names.map((name) => show(given[name])), twice[0] === twice[1]];
    """
    found, expected, same = value(await used(quiet, site, login, script))
    assert found == expected
    assert same


async def test_what_cannot_be_kept_is_named_by_its_kind_and_place(quiet: Run, site: Site) -> None:
    script = f"""
        {LOGS_IN}
        const key = await crypto.subtle.generateKey({{ name: 'AES-GCM', length: 128 }}, false, ['encrypt']);
        await keep({{ key: {{ of: [key], at: new Date() }}, blob: new Blob(), fine: {{ at: new Date(), no: {{}} }} }});
    """
    report = await creating(quiet, site, script)
    place = f"in store values of database firebaseLocalStorageDb of {site.origin}"
    assert report.unkept == (
        f"The login has empty objects in place of what cannot be kept: Blob {place}; CryptoKey {place}."
    )
    assert report.storage_state is not None
    assert value(await used(quiet, site, report.storage_state, READS)) == "secret-of-ada"
    harmless = await creating(quiet, site, "await keep({ fine: { at: new Date(), no: {} } })")
    assert harmless.unkept is None


async def test_to_name_it_asks_nothing_of_a_site_with_a_service_worker(quiet: Run, site: Site) -> None:
    script = """
        await keep({ blob: new Blob() });
        await navigator.serviceWorker.register('/worker.js');
        await navigator.serviceWorker.ready;
    """
    report = await creating(quiet, site, script)
    assert (report.unkept or "").startswith("The login has empty objects in place of what cannot be kept: Blob in ")
    assert site.requests == ["/", "/worker.js"]


async def test_a_login_that_is_too_large_is_said_with_its_largest_database(quiet: Run, site: Site) -> None:
    login = await made(quiet, site)
    script = "await keep({ small: 1 }); await keep({ text: 'x'.repeat(17 * 2 ** 20) }, 'cache'); return 'fine'"
    report = await used(quiet, site, login, script)
    assert (value(report), report.storage_state) == ("fine", None)
    assert report.unkept is not None
    assert report.unkept.startswith("What the site has changed in its login is not kept: it is 178")
    assert f"Its largest database is cache of {site.origin}, with 178" in report.unkept
    failed = failure(await creating(quiet, site, script))
    assert "Its largest database is cache" in failed.message


HOOKED = {
    **PROJECT,
    **connecting_hook("""
        context = await browser.new_context()
        if "opens" in api_parameters:
            page = await context.new_page()
            await page.goto(api_parameters["url"])
            await page.evaluate(api_parameters["opens"])
        return context, None, cleanup
    """),
}


async def test_a_context_of_the_hook_gets_the_databases_unless_a_page_has_one_open(
    quiet: Run, shared_lab: Lab, site: Site
) -> None:
    login, hooked = await made(quiet, site), shared_lab.runner(HOOKED)
    report = await used(hooked, site, login, "await keep({ a: 1 }); return (await kept('users', 1)).token")
    assert value(report) == "secret-of-ada"
    assert '{"key":"a","value":1}' in (report.storage_state or "")
    opens = "new Promise((ok) => { indexedDB.open('firebaseLocalStorageDb', 1).onsuccess = ok; })"
    failed = failure(await used(hooked, site, login, READS, opens=opens))
    assert "database firebaseLocalStorageDb: a page has it open already" in failed.message
