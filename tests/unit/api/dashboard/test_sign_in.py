import asyncio
import re
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from api.dashboard.page_route import PageRoute
from callboard.schemas.errors import Unavailable
from callboard.security import sign_in_sessions
from callboard.security.apikeys import operator_of
from callboard.storage.folder import FolderStore
from tests.support.api_in_process import KEY, SECRET, Api, MakeApi
from tests.support.constants import WORKSPACE
from tests.support.dashboard_client import Pages, browser_client, signed_in_client
from tests.support.faulty_store import FaultyStore

KEY_FORM = re.compile("cb_[0-9A-Za-z]{12}_")


async def test_whoever_is_not_signed_in_is_led_to_the_form_and_back(api: Api):
    client = browser_client(api)
    answer = await client.get("/projects/shop?a=b")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=%2Fprojects%2Fshop%3Fa%3Db")
    form = await client.get(answer.headers["location"])
    assert 'name="next" value="/projects/shop?a=b"' in form.text
    back = await client.sign_in(next="/projects/shop?a=b")
    assert (back.status_code, back.headers["location"]) == (303, "/projects/shop?a=b")
    assert (await client.get("/projects/shop")).status_code == 200
    assert (await client.get("/sign-in")).status_code == 303


@pytest.mark.parametrize("elsewhere", ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "/a\nb"])
async def test_signing_in_leads_to_no_other_site(api: Api, elsewhere: str):
    pages = browser_client(api)
    answer = await pages.sign_in(next=elsewhere)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert (await pages.get("/")).headers["location"] == "/projects"


async def test_the_cookie_is_for_this_site_alone_and_holds_no_key(api: Api):
    answer = await browser_client(api).sign_in()
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Path=/" in cookie
    assert "Secure" not in cookie
    assert KEY not in cookie
    secure = Pages(transport=httpx.ASGITransport(api.app), base_url="https://api.test")
    assert "Secure" in (await secure.sign_in()).headers["set-cookie"]


async def test_a_wrong_key_opens_nothing_and_is_not_repeated(api: Api):
    client = browser_client(api)
    answer = await client.sign_in("a-key-of-another-house")
    assert answer.status_code == 401
    assert "not known" in answer.text
    assert "a-key-of-another-house" not in answer.text
    assert not client.cookies


async def test_a_cookie_that_was_changed_or_is_another_s_is_none(make_api: MakeApi):
    api = await make_api()
    client = await signed_in_client(api)
    cookie = client.cookies["callboard-session"]
    for other in (cookie[:-2] + "AA", "x", "", "9999999999." + "a" * 22 + "." + "0" * 64):
        stranger = browser_client(api, cookie=f"callboard-session={other}")
        assert (await stranger.get("/projects")).status_code == 303
    # Another process of the same installation knows it; one that has another key does not.
    again = browser_client(await make_api(), cookie=f"callboard-session={cookie}")
    assert (await again.get("/projects")).status_code == 200
    rotated = browser_client(
        await make_api(api_keys=["another-key-of-another-time"]), cookie=f"callboard-session={cookie}"
    )
    assert (await rotated.get("/projects")).status_code == 303
    resealed = await make_api(secret_key=["another secret key of a ring"])
    assert (await browser_client(resealed, cookie=f"callboard-session={cookie}").get("/projects")).status_code == 303
    older = await make_api(secret_key=["another secret key of a ring", SECRET])
    assert (await browser_client(older, cookie=f"callboard-session={cookie}").get("/projects")).status_code == 200


async def test_a_session_is_good_for_as_long_as_its_key(make_api: MakeApi):
    api, other = await make_api(), await make_api()
    key = await api.make_key("runs:read")
    pages = await signed_in_client(api, key)
    assert KEY_FORM.search(pages.cookies["callboard-session"]) is None
    there = browser_client(other, cookie=f"callboard-session={pages.cookies['callboard-session']}")
    assert [(await each.get("/projects")).status_code for each in (pages, there)] == [200, 200]
    await api.services.stored_keys.revoke(key.split("_")[1])
    answer = await pages.get("/projects")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=%2Fprojects")
    assert (await pages.get("/sign-in")).status_code == 200, "and no other page than the form is shown"


async def test_a_session_ends_with_its_key(api: Api, monkeypatch: pytest.MonkeyPatch):
    end = datetime.now(UTC) + timedelta(hours=1)
    pages = await signed_in_client(api, await api.make_key("runs:read", ends_at=end))
    session = api.services.sessions.read(pages.cookies["callboard-session"])
    assert session is not None
    assert session.expires_at == int(end.timestamp())
    monkeypatch.setattr(sign_in_sessions.time, "time", lambda: end.timestamp() + 1)
    assert (await pages.get("/projects")).status_code == 303


@pytest.mark.parametrize("secret_key", [[], [SECRET]])
async def test_the_session_of_one_key_is_not_that_of_another(make_api: MakeApi, secret_key: list[str]):
    api = await make_api(secret_key=secret_key)
    key, more = await api.make_key("jobs"), await api.make_key("admin")
    cookie = (await signed_in_client(api, key)).cookies["callboard-session"]
    operator = operator_of(KEY).id
    for key_id in (more.split("_")[1], operator, "", "../../x", f"{operator}.x"):
        forged = cookie.replace(key.split("_")[1], key_id)
        if forged != cookie:
            stranger = browser_client(api, cookie=f"callboard-session={forged}")
            assert (await stranger.get("/projects/shop/jobs")).status_code == 303


async def test_the_first_key_of_the_operator_signs_and_all_of_them_are_accepted(make_api: MakeApi):
    old, new = "an-old-key-of-the-operator", "a-new-key-of-the-operator"
    api = await make_api(api_keys=[old])
    key = await api.make_key("runs:read")
    cookie = (await signed_in_client(api, key)).cookies["callboard-session"]
    for keys, status in (([new, old], 200), ([old, new], 200), ([new], 303)):
        rotated = browser_client(await make_api(api_keys=keys), cookie=f"callboard-session={cookie}")
        assert (await rotated.get("/projects")).status_code == status, keys


async def test_while_the_store_is_away_a_session_is_neither_good_nor_lost(api: Api, monkeypatch: pytest.MonkeyPatch):
    pages = await signed_in_client(api, await api.make_key("runs:read"))

    async def away(_key_id: str) -> None:
        raise Unavailable("The artifact store does not say whether the API key is good. Try again.")

    monkeypatch.setattr(api.services.stored_keys, "get", away)
    answer = await pages.get("/projects")
    assert answer.status_code == 503
    assert "does not say whether" in answer.text
    assert pages.cookies["callboard-session"]


async def test_sessions_need_no_secret_key(make_api: MakeApi):
    client = await signed_in_client(await make_api(secret_key=[]))
    assert (await client.get("/projects")).status_code == 200


async def test_signing_out_ends_copies_of_the_session_in_every_api_for_good(
    make_api: MakeApi, monkeypatch: pytest.MonkeyPatch
):
    api, other = await make_api(), await make_api()
    pages, bystander = await signed_in_client(api), await signed_in_client(api)
    cookie = f"callboard-session={pages.cookies['callboard-session']}"
    copy, there = browser_client(api, cookie=cookie), browser_client(other, cookie=cookie)
    assert [(await each.get("/projects")).status_code for each in (copy, there)] == [200, 200]
    answer = await pages.send_form("/sign-out")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    assert not pages.cookies
    assert (await copy.get("/projects")).status_code == 303, "here, at once"
    clock = asyncio.get_running_loop().time
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: clock() + 3.1, raising=False)
    assert (await there.get("/projects")).status_code == 303, "in another api, within five seconds"
    restarted = browser_client(await make_api(), cookie=cookie)
    assert (await restarted.get("/projects")).status_code == 303, "after a restart"
    assert (await bystander.get("/projects")).status_code == 200, "and no other session with this key"


async def test_while_the_store_is_away_nobody_knows_who_has_signed_out(make_api: MakeApi, deployed: FolderStore):
    api = await make_api(store=(store := FaultyStore(Path(deployed.name))))
    pages = await signed_in_client(api)
    store.refuse = lambda key: key.startswith("ended-sessions/")
    answer = await pages.get("/projects")
    assert answer.status_code == 503
    assert "whether the session was signed out of" in answer.text
    store.refuse = lambda _key: False
    assert (await pages.get("/projects")).status_code == 200
    store.refuse = lambda key: key.startswith("ended-sessions/")
    assert (await pages.send_form("/sign-out")).status_code == 500
    assert pages.cookies["callboard-session"], "so that it can be tried again"


def routes(api: Api, method: str) -> list[str]:
    """The paths of all pages, or of all changes, but for those that need no session: to sign in, and of links."""
    found = [route for route in api.app.routes if isinstance(route, PageRoute) and method in (route.methods or ())]
    return [route.path_format for route in found if not re.match("/(sign-in|docs|answer.*)?$", route.path)]


def filled(path: str, project: str, **names: str) -> str:
    """A path with these names in it, and `x` for all others."""
    return path.format_map(defaultdict(lambda: "x", projectName=project, number="1") | names)


async def test_no_page_without_a_session(api: Api):
    run_id = await api.run()
    for path in routes(api, "GET"):
        answer = await browser_client(api).get(filled(path, "shop", runId=run_id))
        assert answer.status_code == (401 if path.endswith(".json") else 303), path


async def test_no_change_without_the_token_of_the_session(api: Api, pages: Pages):
    changes = routes(api, "POST")
    assert {"/sign-out", "/projects/{projectName}/playground", "/projects/{projectName}/runs/{runId}/rerun"} <= {
        *changes
    }
    of_another = await (await signed_in_client(api)).token()
    for path in changes:
        if "/live/" in path:  # takes JSON, which no page of another site can send (test_live_view.py)
            continue
        for data in ({"other": "field"}, {"token": ""}, {"token": of_another}):
            assert (await pages.post(filled(path, "members"), data=data)).status_code == 403, path
    assert (await pages.get("/projects")).status_code == 200


async def test_what_there_is_not_or_in_another_project_is_not_found(api: Api, pages: Pages):
    names = {"runId": await api.run(), "jobId": "nightly", "jobRunId": "jr_V1StGXR8_Z5jdHi6B-myT"}
    await api.create_job()
    await api.start_job_run(names["jobRunId"])
    names["bulkId"] = await api.start_bulk()
    token = await pages.token()
    for path in (path for path in routes(api, "GET") if "Id}" in path):
        for address in (filled(path, "shop"), filled(path, "closed", **names), filled(path, "none")):
            assert (await pages.get(address)).status_code == 404, address
        if "operationId" not in path and path.endswith(("Id}", ".json", "/result", "/results")):
            status = 404 if path.endswith("/result") else 200
            assert (await pages.get(filled(path, "shop", **names))).status_code == status, path
    for path in (path for path in routes(api, "POST") if "Id}" in path and not path.endswith("/update")):
        for address in (filled(path, "members"), filled(path, "members", **names)):  # An update has fields to be wrong.
            assert (await pages.post(address, data={"token": token})).status_code == 404, address


async def test_a_page_that_there_is_not_leads_on_to_others(api: Api, pages: Pages):
    for path, tabs in (("/projects/shop/runs/none", True), ("/projects/none", False), ("/none", False)):
        answer = await pages.get(path)
        assert answer.status_code == 404
        assert ('href="/projects/shop/playground"' in answer.text) is tabs
        assert 'aria-label="Main"' in answer.text
    answer = await (await signed_in_client(api, await api.make_key("runs:read", projects=["members"]))).get(
        "/projects/shop/runs/x"
    )
    assert (answer.status_code, "/projects/shop/playground" in answer.text) == (404, False), "what it may not see"
    assert (await pages.get("/api/none")).headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "headers", [{"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"origin": "https://evil.example"}]
)
async def test_no_change_from_a_page_of_another_site(pages: Pages, headers: dict[str, str]):
    answer = await pages.post("/sign-out", data={"token": await pages.token()}, headers=headers)
    assert answer.status_code == 403
    assert (await pages.post("/sign-in", data={"key": KEY}, headers=headers)).status_code == 403


async def test_a_call_of_the_api_by_who_is_signed_in_has_the_token_of_the_session(api: Api, pages: Pages):
    shop, token = f"/api/v1/workspace/{WORKSPACE}/projects/shop", await pages.token()
    call = f"{shop}/apis"
    reference = (await pages.get("/docs")).text
    assert f'data-token="{token}"' in reference
    header = {"x-callboard-token": token}
    assert (await pages.get(call, headers=header)).status_code == 200
    assert (await pages.get(call)).status_code == 401, "a page of another site may have the cookie sent"
    assert (await pages.get(call, headers={"x-callboard-token": "guessed"})).status_code == 403
    for elsewhere in ({"sec-fetch-site": "same-site"}, {"origin": "https://evil.example"}):
        assert (await pages.get(call, headers=header | elsewhere)).status_code == 403
    assert (await browser_client(api).get(call, headers=header)).status_code == 401
    assert (await pages.post("/mcp", headers=header)).status_code == 401, "that is for programs"
    reader = await signed_in_client(api, await api.make_key("runs:read"))
    started = await reader.post(f"{shop}/run/start", headers={"x-callboard-token": await reader.token()}, json={})
    assert started.status_code == 403, "and it may do what the key may"
    await pages.send_form("/sign-out")
    assert (await pages.get(call, headers=header)).status_code == 401


async def test_every_page_has_the_headers_that_keep_strangers_out(pages: Pages):
    for path in ("/projects", "/projects.json", "/projects/shop", "/projects/none", "/sign-in"):
        headers = (await pages.get(path)).headers
        assert "script-src 'self';" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == "no-store"


async def test_no_page_has_script_or_style_of_its_own(pages: Pages):
    for path in ("/projects", "/projects/shop", "/projects/none"):
        text = (await pages.get(path)).text
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\son[a-z]+=|javascript:", text)
