"""The calls about keys: what they answer, and that nobody gives away, sees or revokes more than his own key allows."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.support.api_in_process import KEY, Api, MakeApi
from tests.support.constants import WORKSPACE

KEYS = f"/api/v1/workspace/{WORKSPACE}/keys"
SOON = "2099-01-31T00:00:00Z"


async def create(api: Api, key: str = KEY, **body: Any) -> httpx.Response:
    given = {"name": "import", "scopes": ["runs:read"], **body}
    return await api.client.post(KEYS, json=given, headers={"x-api-key": key})


async def list_of(api: Api, key: str = KEY) -> list[str]:
    answer = await api.client.get(KEYS, headers={"x-api-key": key})
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json()["keys"]]


async def revoke(api: Api, key_id: str, key: str = KEY) -> int:
    return (await api.client.delete(f"{KEYS}/{key_id}", headers={"x-api-key": key})).status_code


async def test_a_key_is_shown_once_works_and_is_revoked(api: Api, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    made = await create(api, scopes=["jobs", "runs:read"], projects=["shop"], expiresAt=SOON)
    assert made.status_code == 201
    body = made.json()
    key = body.pop("key")
    assert key.startswith(body["prefix"] + "_")
    assert body["prefix"] == f"cb_{body['id']}"
    assert (body["scopes"], body["projects"], body["expiresAt"]) == (["runs:read", "jobs"], ["shop"], SOON)
    assert (body["createdBy"]["name"], body["lastUsedAt"]) == ("operator", None)
    for headers in ({"x-api-key": key}, {"authorization": f"Bearer {key}", "x-api-key": ""}):
        shop = f"/api/v1/workspace/{WORKSPACE}/projects/shop"
        sent = {name: value for name, value in headers.items() if value}
        api.client.headers.pop("x-api-key", None)
        assert (await api.client.get(shop, headers=sent)).status_code == 200
    api.client.headers["x-api-key"] = KEY
    await api.services.stored_keys.close()
    text = (await api.client.get(KEYS)).text
    assert body["id"] in text
    (listed,) = [each for each in (await api.client.get(KEYS)).json()["keys"] if each["id"] == body["id"]]
    assert listed.pop("lastUsedAt")
    assert listed == {name: value for name, value in body.items() if name != "lastUsedAt"}
    assert await revoke(api, body["id"]) == 204
    gone = await api.client.get(shop, headers={"x-api-key": key})
    assert (gone.status_code, gone.json()["code"]) == (401, "unauthorized")
    assert await revoke(api, body["id"]) == 404
    secret = key[-43:]
    assert secret not in text + gone.text + caplog.text


async def test_a_key_that_has_ended_is_401_at_once(api: Api):
    key = await api.make_key("admin", ends_at=datetime.now(UTC) - timedelta(seconds=1))
    answer = await api.client.get(KEYS, headers={"x-api-key": key})
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert "has ended" in answer.json()["message"]
    assert (await api.client.get("/projects.json", headers={"x-api-key": key})).status_code == 401
    assert len(await list_of(api)) > 0, "whoever has ended counts as no guess"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("name", each) for each in ("", "x" * 65, "a b", "-a", "a/b", "ä", "a\n", 7, None)),
        *(("scopes", each) for each in ([], ["everything"], "admin", ["runs:read"] * 21, [7], None)),
        *(("projects", each) for each in ([], ["Shop"], ["../x"], "shop", ["a"] * 201, [None])),
        *(("expiresAt", each) for each in ("2020-01-31T00:00:00Z", "2099-01-31T00:00:00", "30d", 4_000_000_000, "")),
        ("expires", SOON),
    ],
)
async def test_a_wrong_field_is_named_and_makes_no_key(api: Api, field: str, value: Any):
    before = await list_of(api)
    answer = await create(api, **{field: value})
    assert answer.status_code == 400, answer.text
    assert answer.json()["details"]["path"].partition("[")[0] == field
    assert await list_of(api) == before


@pytest.mark.parametrize(
    ("asked", "status", "told"),
    [
        ({"scopes": ["runs:read", "deploy"]}, 403, "cannot give away the scope deploy"),
        ({"scopes": ["admin"]}, 403, "cannot give away the scope admin"),
        ({"projects": None}, 403, "so it cannot make one for all"),
        ({"projects": ["shop", "members"]}, 404, "There is no project 'members' deployed here."),
        ({"projects": ["nowhere"]}, 404, "There is no project 'nowhere' deployed here."),
        ({"expiresAt": None}, 403, "cannot make one that is good for longer"),
        ({"expiresAt": "2099-01-31T00:00:01Z"}, 403, "cannot make one that is good for longer"),
        ({"scopes": ["runs:read"]}, 201, ""),
        ({"expiresAt": "2098-01-31T00:00:00+01:00"}, 201, ""),
    ],
)
async def test_nobody_gives_away_what_he_does_not_have(api: Api, asked: dict[str, Any], status: int, told: str):
    end = datetime(2099, 1, 31, tzinfo=UTC)
    own = await api.make_key("keys", "runs:read", projects=["shop", "closed"], ends_at=end)
    given = {"scopes": ["keys"], "projects": ["shop"], "expiresAt": SOON, **asked}
    answer = await create(api, own, **given)
    assert (answer.status_code, answer.json().get("message", "")[: len(told)] if not told else told in answer.text) == (
        status,
        True if told else "",
    )
    if status == 403 and "scopes" in asked:
        assert answer.json()["details"] == {"scope": asked["scopes"][-1]}


async def test_keys_that_allow_more_are_neither_seen_nor_revoked(make_api: MakeApi, tmp_path: Any):
    api = await make_api()
    end = datetime(2099, 1, 31, tzinfo=UTC)
    known = {
        name: await api.make_key(*scopes, projects=projects, ends_at=ends_at)
        for name, scopes, projects, ends_at in [
            ("own", ("keys", "runs:read"), ["shop"], end),
            ("less", ("runs:read",), ["shop"], end),
            ("other scope", ("jobs",), ["shop"], end),
            ("all scopes", ("admin",), ["shop"], end),
            ("other project", ("runs:read",), ["shop", "members"], end),
            ("all projects", ("runs:read",), None, end),
            ("no end", ("runs:read",), ["shop"], None),
        ]
    }
    ids = {name: key.split("_")[1] for name, key in known.items()}
    seen = await list_of(api, known["own"])
    assert {name for name, key_id in ids.items() if key_id in seen} == {"own", "less"}
    assert set(ids.values()) <= set(await list_of(api)), "an operator sees all"
    for name, key_id in ids.items():
        if name not in ("own", "less"):
            assert await revoke(api, key_id, known["own"]) == 404, name
    assert [await revoke(api, ids[name], known["own"]) for name in ("less", "own")] == [204, 204]
    assert set(ids.values()) & set(await list_of(api)) == set(ids.values()) - {ids["less"], ids["own"]}
    assert (await api.client.get(KEYS, headers={"x-api-key": known["own"]})).status_code == 401


@pytest.mark.parametrize(
    "key_id", ["x", "operator-01234567", "A" * 12, "%2e%2e%2f%2e%2e", "a%2Fb", "é" * 12, "x" * 5000]
)
async def test_an_unknown_id_is_404_whatever_it_looks_like(api: Api, key_id: str):
    assert await revoke(api, key_id) == 404


async def test_a_key_that_allows_more_is_answered_as_one_that_does_not_exist(api: Api):
    own = await api.make_key("keys", projects=["shop"])
    more = (await api.make_key("admin")).split("_")[1]
    told: list[dict[str, Any]] = []
    for key_id in (more, "A" * 12):
        answer = await api.client.delete(f"{KEYS}/{key_id}", headers={"x-api-key": own})
        body = answer.json()
        told.append({**body, "message": body["message"].replace(key_id, "ID"), "correlationId": ""})
    assert told[0] == told[1]


@pytest.mark.parametrize("second", [KEY, "wrong"])
async def test_two_headers_with_keys_are_one_wrong_key(api: Api, second: str):
    del api.client.headers["x-api-key"]
    for name, prefix in ((b"x-api-key", ""), (b"authorization", "Bearer ")):
        headers = [(name, f"{prefix}{key}".encode()) for key in (KEY, second)]
        assert (await api.client.get(KEYS, headers=headers)).status_code == 401


@pytest.mark.parametrize("header", ["x_api_key", "x-api-key-", "api-key", "x-forwarded-api-key", "cookie"])
async def test_a_key_in_another_header_is_none(api: Api, header: str):
    del api.client.headers["x-api-key"]
    assert (await api.client.get(KEYS, headers={header: KEY})).status_code == 401
