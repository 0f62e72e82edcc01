"""Who may call: the key before anything else, then workspace, project and API access, in this order, by every route."""

import json
import logging
from collections import defaultdict
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fastapi.routing import APIRoute

from callboard.schemas.workflow.run import RunStatus, RunType
from callboard.temporal.runs import RunState
from tests.support.api_in_process import KEY, OTHER_KEY, Api
from tests.support.attempt_artifacts import attempt_record, store_record
from tests.support.constants import WORKSPACE

JOB_RUN_ID = "jr_V1StGXR8_Z5jdHi6B-myT"
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


def routes(api: Api) -> list[tuple[str, str]]:
    """Method and path of every call of the REST API."""
    found = [route for route in api.app.routes if isinstance(route, APIRoute) and route.path.startswith("/api/")]
    return [(method, route.path.replace(":path}", "}")) for route in found for method in route.methods or ()]


async def request(api: Api, method: str, path: str, content: Any = None, **names: Any) -> httpx.Response:
    """Call a route whose path has these names, and `x` for all others; a body is JSON unless it is given."""
    filled = path.format_map(defaultdict(lambda: "x", workspaceId=WORKSPACE, number=1) | names)
    body = next((body for end, body in BODIES.items() if path.endswith(end)), None)
    text = content if content is not None or method in ("GET", "DELETE") else json.dumps(body)
    return await api.client.request(method, filled, content=text)


BODIES: dict[str, dict[str, Any]] = {
    "/update": {"parameters": {}},
    "/validate/start": {},
    "/record": {},
    "/jobs/{jobId}": {"payload": [], "configuration": {}},
}
STARTS = [
    *("/run/start", "/runs/{runId}/rerun", "/auth-sessions/create", "/auth-sessions/import"),
    *("/auth-sessions/{authSessionId}/update", "/auth-sessions/{authSessionId}/validate/start"),
    *("/auth-sessions/record", "/auth-sessions/{authSessionId}/record"),
]
"""Calls that are refused where API access is off."""


def makes_what_there_is_not(method: str, path: str) -> bool:
    return method == "PUT" and path.endswith("/env-vars/{name}")


def makes_a_project(method: str, path: str) -> bool:
    """Whether a project that there is not may be in the path."""
    return (method == "PUT" and path.endswith("/{projectName}")) or path.endswith("/deploy")


def of(project: str, path: str) -> bool:
    """Whether things of this route are made in this project: AuthSessions in `members`, all else in `shop`."""
    return (project == "members") is ("/auth-sessions" in path)


@pytest.mark.parametrize("path", [start_path(), start_path("nobody"), "/api", "/api/", "/api/v2/x", "/api/%2e%2e/docs"])
@pytest.mark.parametrize("key", [None, "", "wrong", KEY[:-1], f"{KEY},{KEY}", "\xfftest"])
async def test_without_a_known_key_everything_below_api_is_401(api: Api, path: str, key: str | None):
    headers = [] if key is None else [(b"x-api-key", key.encode("latin-1"))]
    del api.client.headers["x-api-key"]
    for method in ("GET", "POST", "DELETE"):
        error(await api.client.request(method, path, headers=headers), 401, "unauthorized")
    for method, route in routes(api):
        error(await request(api, method, route, b"not json"), 401, "unauthorized")
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
    for method, route in routes(api):
        error(
            await request(api, method, route, b"not json", workspaceId=workspace, projectName="shop"), 404, "not-found"
        )


async def test_a_workspace_is_compared_as_a_uuid(api: Api):
    assert (await api.client.post(start_path(WORKSPACE.upper()), json=BODY)).status_code == 201


@pytest.mark.parametrize(
    "project", ["nope", "%00", "..", "%2e%2e", "a%2Fb", "a%5Cb", "x" * 5000, "%F0%9F%98%80", "SHOP", "a' OR 'b"]
)
async def test_an_unknown_project_is_404_before_its_body_is_read(api: Api, project: str):
    calls = routes(api)
    of_workspace = {route for _, route in calls if "{projectName}" not in route}
    for method, route in calls:
        leads_there = project == ".." and route.replace("/projects/{projectName}", "") in of_workspace
        if "{projectName}" not in route or leads_there:  # the client removes `..` from the path
            continue
        if not makes_a_project(method, route):
            error(await request(api, method, route, b"not json", projectName=project), 404, "not-found")


async def test_a_project_that_is_nearly_right_is_suggested(api: Api):
    body = error(await api.client.post(start_path(project="shpo"), json=BODY), 404, "not-found")
    assert body["message"] == "There is no project 'shpo' deployed here. Did you mean shop?"


async def test_api_access_off_is_403_before_the_body_is_read(api: Api):
    api.add_auth_session("anna", "closed-members")
    closed = {"projectName": "closed-members", "authSessionId": "anna"}
    starts = [route for _, route in routes(api) if route.endswith(tuple(STARTS))]
    assert len(starts) == len(STARTS)
    for route in starts:
        body = error(await request(api, "POST", route, b"not json", **closed), 403, "forbidden")
        assert "apiAccess.enabled" in body["message"]


@pytest.mark.parametrize(
    "name", ["nope", "%00", "a%2Fb", "%2e%2e%2f%2e%2e", "x" * 5000, "%F0%9F%98%80", "%ff", "%7EV1StGXR8_Z5jdHi6B-myT"]
)
async def test_what_there_is_not_is_404_whatever_it_is_called(api: Api, name: str):
    api.add_auth_session("~V1StGXR8_Z5jdHi6B-myT")
    parts = ("runId", "authSessionId", "operationId", "deliveryId", "jobId", "jobRunId", "bulkId", "name", "version")
    names = dict.fromkeys(parts, name)
    for method, route in routes(api):
        if route.count("{") > 2 and not makes_what_there_is_not(method, route):
            project = "members" if of("members", route) else "shop"
            error(await request(api, method, route, projectName=project, **names), 404, "not-found")


async def test_what_belongs_to_another_project_is_404(api: Api):
    run_id = await api.run()
    await store_record(api, attempt_record(run_id))
    await api.create_job()
    await api.start_job_run(JOB_RUN_ID)
    api.add_auth_session("anna")
    for kind in {*RunType} - {RunType.API}:
        api.runs.logins["members", kind] = RunState(kind, RunStatus.STARTED, type=kind, auth_session_id="anna")
    await api.ask("env-vars/SHOP_URL", method="PUT", json={"value": "https://shop.test"})
    names = {"runId": run_id, "jobId": "nightly", "jobRunId": JOB_RUN_ID, "authSessionId": "anna", "name": "SHOP_URL"}
    names["version"] = (await api.ask(""))["version"]
    names["bulkId"] = await api.start_bulk()
    has_ended = ("/{runId}/rows", "/live", "/live/state")
    left_nothing = ("/trace", "/screenshot", "/log", "/files/{name}", "/rerun")
    for method, route in routes(api):
        if route.count("{") > 2 and "{deliveryId}" not in route:
            own, other = ("members", "recorded") if of("members", route) else ("shop", "members")
            kind = f"auth-session-{route.split('/')[-3]}"
            given = {**names, "operationId": kind}
            if method == "GET":
                status = 404 if route.endswith(left_nothing) else 409 if route.endswith(has_ended) else 200
                assert (await request(api, method, route, projectName=own, **given)).status_code == status, route
            if method == "GET" or (own == "shop" and not makes_what_there_is_not(method, route)):
                error(await request(api, method, route, projectName=other, **given), 404, "not-found")
    assert (await api.client.get(f"{api.base}/{run_id}/result")).json()["status"] == "pending"
    assert api.bulks.aborted == {}
    assert (api.job_runs.steered, api.jobs.known["shop", "nightly"].paused) == ([], False)


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
