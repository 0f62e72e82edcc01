from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from schemas.workflow.auth import AuthSessionStatus, AuthSessionType
from schemas.workflow.auth_session import AuthSessionView
from tests.support.api_in_process import Api
from tests.support.dashboard_client import form_token, signed_in_client

PATH = "/projects/members/auth-sessions"


@pytest.fixture(autouse=True)
def no_validates(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.run_queries, "list_runs", no_runs)


@pytest.fixture
def anna(api: Api) -> None:
    """AuthSession `anna@shop`."""
    now = datetime(2026, 11, 24, 10, tzinfo=UTC)
    api.auth_sessions.known["members", "anna@shop"] = AuthSessionView(
        id="anna@shop",
        type=AuthSessionType.CREDENTIALS,
        status=AuthSessionStatus.EXPIRED,
        created_at=now,
        updated_at=now,
    )


async def no_runs(*_: Any, **__: Any) -> Any:
    class Page:
        runs = ()

    return Page()


async def send(api: Api, path: str, **fields: str) -> Any:
    client = await signed_in_client(api)
    return await client.post(path, data={"token": await form_token(client), **fields})


async def test_they_are_listed_with_how_they_stand(api: Api, anna: None) -> None:
    client = await signed_in_client(api)
    text = (await client.get(PATH)).text
    assert "anna@shop" in text
    assert "EXPIRED" in text
    assert "Delete “anna@shop” permanently" in text
    (told,) = (await client.get(f"{PATH}.json")).json()["authSessions"]
    assert (told["id"], told["type"], told["status"], told["lastValidate"]) == (
        "anna@shop",
        "CREDENTIALS",
        "EXPIRED",
        None,
    )


async def test_one_is_created_and_its_parameters_are_not_shown_again(api: Api) -> None:
    parameters = json.dumps({"user": "bob", "password": "never-shown"})
    answer = await send(api, PATH, id="bob@shop", parameters=parameters, createAttempts="1")
    assert (answer.status_code, answer.headers["location"]) == (303, f"{PATH}?done=create&id=bob%40shop")
    assert [each.ref.id for each in api.auth_sessions.created] == ["bob@shop"]
    refused = await send(api, PATH, id="x", parameters=parameters)
    assert refused.status_code == 400
    assert 'id="e-create-id"' in refused.text
    assert "never-shown" not in refused.text
    assert 'value="x"' in refused.text


async def test_parameters_that_are_no_json_are_named_and_not_repeated(api: Api) -> None:
    refused = await send(api, PATH, id="bob@shop", parameters='{"password": "never-shown"')
    assert refused.status_code == 400
    assert 'id="e-create-parameters"' in refused.text
    assert "never-shown" not in refused.text
    assert not api.auth_sessions.created


async def test_one_is_validated_updated_and_deleted(api: Api, anna: None) -> None:
    validated = await send(api, f"{PATH}/anna%40shop/validate")
    (run_id,) = api.auth_sessions.validates
    assert validated.headers["location"] == f"/projects/members/runs/{run_id}"
    updated = await send(api, f"{PATH}/anna%40shop/update", parameters="{}")
    assert updated.headers["location"] == f"{PATH}?done=update&id=anna%40shop"
    assert len(api.auth_sessions.updates) == 1
    deleted = await send(api, f"{PATH}/anna%40shop/delete")
    assert deleted.headers["location"] == f"{PATH}?done=delete&id=anna%40shop"
    assert ("members", "anna@shop") not in api.auth_sessions.known
    assert (await send(api, f"{PATH}/anna%40shop/delete")).status_code == 404


async def test_one_that_is_a_file_of_the_project_can_be_validated_only(api: Api, anna: None) -> None:
    known = api.auth_sessions.known
    known["members", "anna@shop"] = known["members", "anna@shop"].model_copy(update={"from_file": True})
    client = await signed_in_client(api)
    text = (await client.get(PATH)).text
    assert "a file of the project" in text
    assert f"{PATH}/anna%40shop/validate" in text
    assert f"{PATH}/anna%40shop/delete" not in text
    assert f"{PATH}/anna%40shop/update" not in text
    assert (await client.get(f"{PATH}.json")).json()["authSessions"][0]["fromFile"]
    assert (await send(api, f"{PATH}/anna%40shop/update", parameters="{}")).status_code == 409
    assert (await send(api, f"{PATH}/anna%40shop/delete")).status_code == 409
    assert ("members", "anna@shop") in known


async def test_recorded_ones_are_imported(api: Api) -> None:
    client = await signed_in_client(api)
    assert "Import an AuthSession" in (await client.get("/projects/recorded/auth-sessions")).text
    state = json.dumps({"cookies": [], "origins": []})
    taken = await send(api, "/projects/recorded/auth-sessions-import", id="by-hand", state=state)
    assert taken.headers["location"] == "/projects/recorded/auth-sessions?done=import&id=by-hand"
    refused = await send(api, "/projects/recorded/auth-sessions-import", state="{}")
    assert refused.status_code == 400
    assert 'id="e-import-state"' in refused.text


async def test_a_project_without_logins_is_told_how_to_have_them(api: Api) -> None:
    client = await signed_in_client(api)
    page = await client.get("/projects/shop/auth-sessions")
    assert page.status_code == 200
    assert '"authSessions": { "enabled": true, "type": "API" }' in page.text
    assert "<form" not in page.text.partition("<main")[2]
    assert (await client.get("/projects/shop/auth-sessions.json")).json() == {"authSessions": []}
    assert "/projects/shop/auth-sessions" not in (await client.get("/projects/shop")).text
    assert f'href="{PATH}"' in (await client.get("/projects/members")).text
