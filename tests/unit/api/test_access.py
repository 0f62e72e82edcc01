"""Who may call: the key before anything else, then workspace, project and API access, in this order."""

import logging
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.api_in_process import KEY, OTHER_KEY, Api
from tests.support.constants import WORKSPACE

BODY = {"api": "list", "parameters": {}}


def error(answer: Any, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert (body["code"], body["category"], body["retirable"]) == (code, "user", False)
    assert body["message"]
    assert body["correlationId"] == answer.headers["x-correlation-id"]
    return body


def start_path(workspace: str = WORKSPACE, project: str = "shop") -> str:
    return f"/api/v1/workspace/{workspace}/projects/{project}/run/start"


@pytest.mark.parametrize("path", [start_path(), start_path("nobody"), "/api", "/api/", "/api/v2/x", "/api/%2e%2e/docs"])
@pytest.mark.parametrize("key", [None, "", "wrong", KEY[:-1], f"{KEY},{KEY}", "\xfftest"])
async def test_without_a_known_key_everything_below_api_is_401(api: Api, path: str, key: str | None):
    headers = [] if key is None else [(b"x-api-key", key.encode("latin-1"))]
    del api.client.headers["x-api-key"]
    for method in ("GET", "POST", "DELETE"):
        error(await api.client.request(method, path, headers=headers), 401, "unauthorized")
    assert api.runs.entries == {}


@pytest.mark.parametrize("key", [KEY, OTHER_KEY])
async def test_each_of_several_keys_opens_also_with_non_ascii_characters(api: Api, key: str):
    headers = [(b"x-api-key", key.encode())]
    assert (await api.client.post(start_path(), json=BODY, headers=headers)).status_code == 201
    assert "projects" in (await api.client.get("/readyz", headers=headers)).json(), "all is told"


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer  "])
async def test_a_key_may_be_a_bearer_token(api: Api, scheme: str):
    del api.client.headers["x-api-key"]
    right, wrong = ({"authorization": scheme + key} for key in (KEY, "wrong"))
    assert (await api.client.post(start_path(), json=BODY, headers=right)).status_code == 201
    assert "projects" in (await api.client.get("/readyz", headers=right)).json(), "all is told"
    error(await api.client.post(start_path(), json=BODY, headers=wrong), 401, "unauthorized")


async def test_the_header_of_the_key_precedes_other_authorization(api: Api):
    for authorization in ("Bearer wrong", "Basic dXNlcjpwYXNz"):
        answer = await api.client.post(start_path(), json=BODY, headers={"authorization": authorization})
        assert answer.status_code == 201
    del api.client.headers["x-api-key"]
    answer = await api.client.post(start_path(), json=BODY, headers={"authorization": "Basic dXNlcjpwYXNz"})
    assert error(answer, 401, "unauthorized")["message"] == (
        "There is no API key. Send one in the header x-api-key, or as `Authorization: Bearer KEY`."
    )


async def test_a_key_is_looked_at_before_the_body(api: Api):
    answer = await api.client.post(start_path(), content=b"{" * 2_000_000, headers={"x-api-key": "wrong"})
    error(answer, 401, "unauthorized")


@pytest.mark.parametrize(
    "workspace",
    ["00000000-0000-0000-0000-000000000000", "shop", "0f8fad5b", "%00", "a%2Fb", "%F0%9F%98%80", "0" * 5000, "%ff"],
)
async def test_another_workspace_is_404_whatever_it_looks_like(api: Api, workspace: str):
    error(await api.client.post(start_path(workspace), json={}), 404, "not-found")
    for path in ("run/x/result", "run/x/cancel"):
        method = "GET" if path.endswith("result") else "POST"
        answer = await api.client.request(method, f"/api/v1/workspace/{workspace}/projects/shop/{path}")
        error(answer, 404, "not-found")


async def test_a_workspace_is_compared_as_a_uuid(api: Api):
    assert (await api.client.post(start_path(WORKSPACE.upper()), json=BODY)).status_code == 201


@pytest.mark.parametrize(
    "project", ["nope", "%00", "..", "%2e%2e", "a%2Fb", "a%5Cb", "x" * 5000, "%F0%9F%98%80", "SHOP"]
)
async def test_an_unknown_project_is_404_before_its_body_is_read(api: Api, project: str):
    error(await api.client.post(start_path(project=project), content=b"not json"), 404, "not-found")


async def test_a_project_that_is_nearly_right_is_suggested(api: Api):
    body = error(await api.client.post(start_path(project="shpo"), json=BODY), 404, "not-found")
    assert body["message"] == "There is no project 'shpo' deployed here. Did you mean shop?"


async def test_api_access_off_is_403_before_the_body_is_read(api: Api):
    body = error(await api.client.post(start_path(project="closed"), content=b"not json"), 403, "forbidden")
    assert "apiAccess.enabled" in body["message"]


@pytest.mark.parametrize("run_id", ["nope", "%00", "a%2Fb", "..%2f..", "x" * 5000, "%F0%9F%98%80", "%ff"])
async def test_an_unknown_run_is_404_whatever_it_looks_like(api: Api, run_id: str):
    error(await api.client.get(f"{api.base}/{run_id}/result"), 404, "not-found")
    error(await api.client.post(f"{api.base}/{run_id}/cancel"), 404, "not-found")


async def test_a_run_of_another_project_is_404(api: Api):
    run_id = await api.run()
    other = api.base.replace("/shop/", "/members/")
    error(await api.client.get(f"{other}/{run_id}/result"), 404, "not-found")
    error(await api.client.post(f"{other}/{run_id}/cancel"), 404, "not-found")
    assert (await api.client.get(f"{api.base}/{run_id}/result")).json()["status"] == "pending"


async def test_an_unknown_path_and_method_are_answered_in_the_contract_s_shape(api: Api):
    error(await api.client.get("/nowhere"), 404, "not-found")
    error(await api.client.get(f"{api.base}/x/start"), 404, "not-found")
    error(await api.client.post(f"{api.base}/start/", json=BODY), 404, "not-found")
    answer = await api.client.get(f"{api.base}/start")
    error(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "POST"
    error(await api.client.delete(f"{api.base}/x/result"), 405, "method-not-allowed")


async def test_keys_and_headers_are_never_logged(api: Api, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    await api.start()
    await api.client.get("/api/x", headers={"x-api-key": "wrong-and-secret"})
    await api.client.get(f"/api/{quote('a\nb', safe='')}")
    assert "wrong-and-secret" not in caplog.text
    assert "test-key-number-one-of-two" not in caplog.text
    assert "POST /api/v1/workspace" in caplog.text
    assert all("\n" not in record.getMessage() for record in caplog.records if record.name.startswith("api"))


async def test_each_request_has_a_correlation_id_of_its_own(api: Api):
    answers = [await api.start() for _ in range(2)]
    ids = {answer.headers["x-correlation-id"] for answer in answers}
    assert len(ids) == 2
    assert answers[0].headers["cache-control"] == "no-store"
