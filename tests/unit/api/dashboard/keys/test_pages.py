"""The page of keys, and what the pages show to people whose key does not allow all."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from starlette.routing import Match

from api.dashboard.page_route import PageRoute
from api.http.access import requirement_of
from callboard.schemas.rest.access import Scope
from tests.support.api_in_process import PROJECTS, Api, MakeApi
from tests.support.dashboard_client import EVIL, Pages, signed_in_client

JOB_RUN_ID = "jr_V1StGXR8_Z5jdHi6B-myT"


async def test_a_key_is_made_on_the_page_shown_once_and_revoked(pages: Pages):
    answer = await pages.send_form("/keys", name="nightly", scopes="runs:read", projects="shop  members", days="30")
    assert answer.status_code == 200
    (key,) = re.findall(r'<pre id="new-key"[^>]*>(cb_[^<]+)</pre>', answer.text)
    listed = await pages.get("/keys")
    assert key not in listed.text
    assert "nightly" in listed.text
    (row,) = [each for each in (await pages.get("/keys.json")).json()["keys"] if key.startswith(each["prefix"])]
    assert (row["scopes"], row["projects"], row["createdBy"]["name"]) == (
        ["runs:read"],
        ["members", "shop"],
        "operator",
    )
    assert row["expiresAt"]
    answer = await pages.send_form(f"/keys/{row['id']}/revoke")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/keys?revoked={row['id']}")
    assert row not in (await pages.get("/keys.json")).json()["keys"]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"scopes": "everything"}, "Expected one of runs:start"),
        ({"days": "soon"}, "Expected a whole number"),
        ({"days": "0"}, "Expected a time to come"),
        ({"name": EVIL}, "Expected a name of 1 to 64"),
    ],
)
async def test_what_is_wrong_stands_beside_its_field_and_no_key_is_made(
    pages: Pages, fields: dict[str, str], told: str
):
    before = (await pages.get("/keys.json")).json()
    answer = await pages.send_form("/keys", **{"name": "a", "scopes": "jobs", "projects": "", "days": "", **fields})
    assert (answer.status_code, told in answer.text) == (400, True)
    assert EVIL not in answer.text
    assert "new-key" not in answer.text
    assert (await pages.get("/keys.json")).json() == before


async def test_the_form_offers_what_the_own_key_allows_and_no_more(api: Api):
    pages = await signed_in_client(api, await api.make_key("keys", "jobs", projects=["shop"]))
    form = (await pages.get("/keys")).text
    assert re.findall(r'name="scopes" value="([^"]+)"', form) == ["jobs", "keys"]
    assert re.findall(r'name="projects" value="([^"]*)"', form) == ["shop"]
    token = re.findall(r'name="token" value="([^"]+)"', form)[0]
    given = {"token": token, "name": "a", "scopes": "jobs", "projects": "", "days": ""}
    answer = await pages.post("/keys", data=given)
    assert (answer.status_code, "cannot make one for all" in answer.text) == (403, True), answer.text


@pytest.mark.parametrize("scope", [each for each in Scope if each is not Scope.RUNS_READ])
async def test_whoever_may_read_no_runs_begins_at_the_own_key(api: Api, scope: Scope):
    pages = await signed_in_client(api, await api.make_key(scope, projects=["shop"]))
    home = (await pages.get("/")).headers["location"]
    assert home == ("/projects" if scope is Scope.ADMIN else "/key")
    text = (await pages.get("/key")).text
    assert scope.value in text
    assert "shop" in text
    assert "members" not in text
    opens_nothing = "Your key opens no page of a project" in text
    assert opens_nothing == (scope in (Scope.CODES, Scope.RUNS_CANCEL, Scope.DEPLOY, Scope.KEYS))


async def test_the_own_key_is_told_as_json(api: Api):
    key = await api.make_key("jobs", "runs:read", projects=["shop"])
    told = (await api.client.get("/key.json", headers={"x-api-key": key})).json()
    assert told == {
        "id": key.split("_")[1],
        "name": "test",
        "scopes": ["jobs", "runs:read"],
        "projects": ["shop"],
        "expiresAt": None,
    }


async def filled(api: Api) -> list[str]:
    """The addresses of pages of something of every kind."""
    run_id = await api.run()
    await api.create_job()
    await api.start_job_run(JOB_RUN_ID)
    api.add_auth_session("anna")
    shop = "/projects/shop"
    return [
        *(
            "/key",
            "/keys",
            "/audit",
            "/env-vars",
            f"{shop}/env-vars",
            f"{shop}/versions",
            "/projects",
            shop,
            f"{shop}/runs",
            f"{shop}/runs/{run_id}",
            f"{shop}/playground",
        ),
        *(f"{shop}/jobs", f"{shop}/jobs/nightly", f"{shop}/jobs/nightly/runs/{JOB_RUN_ID}"),
        *("/projects/members/auth-sessions", "/projects/members/playground"),
    ]


def needed(api: Api, method: str, address: str) -> str | None:
    """The scope of the page at this address; None if it needs none."""
    path = unescape(address).partition("?")[0]
    scope = {"type": "http", "method": method, "path": path, "root_path": "", "headers": []}
    for route in api.app.routes:
        if isinstance(route, PageRoute) and route.matches(scope)[0] is Match.FULL:
            needs = requirement_of(route)
            return None if needs is None else needs.scopes[0].value
    return None


@pytest.mark.parametrize("scope", [*Scope])
async def test_pages_show_only_what_the_key_may_use(make_api: MakeApi, scope: Scope):
    api = await make_api(temporal_ui_url="http://temporal.test:8233")
    addresses = await filled(api)
    pages = await signed_in_client(api, await api.make_key(scope))
    shown = 0
    for address in addresses:
        answer = await pages.get(address)
        assert answer.status_code == (200 if needed(api, "GET", address) in (None, scope, *admin(scope)) else 403)
        for kind, target in re.findall(r'(href|action)="(/[^"]*)"', answer.text):
            needs = needed(api, "GET" if kind == "href" else "POST", target)
            assert scope is Scope.ADMIN or needs in (None, scope), (address, target)
        assert ("temporal.test" in answer.text) <= (scope is Scope.ADMIN)
        shown += answer.status_code == 200
    assert shown > 1 or scope in (Scope.CODES, Scope.DEPLOY, Scope.ENV_VARS, Scope.HANDOFFS, Scope.RUNS_CANCEL)


def admin(scope: Scope) -> list[Any]:
    return [*Scope] if scope is Scope.ADMIN else []


async def test_an_administrator_sees_every_action(api: Api, pages: Pages):
    text = "".join([(await pages.get(address)).text for address in await filled(api)])
    for action in ("cancel", "rerun", "trigger", "pause", "delete", "validate", "keys", "playground", "auth-sessions"):
        assert re.search(rf'action="[^"]*/{action}"', text), action


async def test_pages_name_no_project_that_the_key_may_not_see(api: Api):
    addresses = await filled(api)
    pages = await signed_in_client(api, await api.make_key("admin", projects=["shop"]))
    for address in addresses:
        answer = await pages.get(address)
        if "members" in address:
            assert answer.status_code == 404
            continue
        for project in set(PROJECTS) - {"shop"}:
            assert not re.search(rf"\b{project}\b", answer.text), (address, project)


async def test_a_start_tells_its_id_to_those_who_may_not_read_it(api: Api):
    api.add_auth_session("anna")
    pages = await signed_in_client(api, await api.make_key("runs:start"))
    token = re.findall(r'name="token" value="([^"]+)"', (await pages.get("/projects/shop/playground")).text)[0]
    form = {"token": token, "api": "list", "parameters": "{}", "do": "start"}
    answer = await pages.post("/projects/shop/playground", data=form)
    assert answer.status_code == 200
    (run_id,) = api.runs.entries
    assert f"The Run was started: <code>{run_id}</code>" in answer.text
    assert "anna" not in (await pages.get("/projects/members/playground")).text, (
        "AuthSessions have a scope of their own"
    )
