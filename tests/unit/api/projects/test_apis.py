"""What the APIs of a project take: as a list, as OpenAPI, and as a check of what is sent."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.openapi.models import OpenAPI
from jsonschema import Draft202012Validator

from callboard.storage import object_keys
from tests.support.api_in_process import Api, MakeApi
from tests.support.constants import WORKSPACE
from tests.support.dashboard_client import signed_in_client

LIST_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {"url": {"type": "string"}, "node": {"$ref": "#/$defs/Node"}},
    "required": ["url"],
    "additionalProperties": False,
    "$defs": {"Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}},
}
RESULT_SCHEMA: dict[str, Any] = {"type": "array", "items": {"$ref": "#/$defs/Node"}, "$defs": LIST_SCHEMA["$defs"]}
DESCRIBED = {
    "list": {"docstring": "Lists them.", "inputSchema": LIST_SCHEMA, "resultSchema": RESULT_SCHEMA},
    "products/details": {},
}
WRONG = {"url": 3, "more": 1}

MakeDescribed = Callable[..., Awaitable[Api]]


@pytest.fixture
async def make_described(make_project_api: MakeApi) -> MakeDescribed:
    """Makes an application over a project whose API `list` has a schema."""

    async def make(settings: dict[str, Any] | None = None, **described: Any) -> Api:
        api = await make_project_api(settings or {})
        version = (await api.ask(""))["version"]
        content = json.dumps({"apis": DESCRIBED | described}).encode()
        await api.store.put(object_keys.input_schemas("shop", version), content)
        return api

    return make


CHECKED = {"apiAccess": {"validateParameters": True}}


async def test_apis_are_listed_with_docstring_and_schema(make_described: MakeDescribed):
    api = await make_described()
    answer = await api.ask("apis")
    assert answer == {
        "version": (await api.ask(""))["version"],
        "validateParameters": False,
        "apis": [
            {"name": "list", **DESCRIBED["list"], "needsAuthSession": False},
            {"name": "products/details", **dict.fromkeys(DESCRIBED["list"]), "needsAuthSession": False},
        ],
    }


async def test_a_version_of_an_older_callboard_and_one_that_logs_in(api: Api):
    answer = await api.ask("apis", "members")
    assert {each["needsAuthSession"] for each in answer["apis"]} == {True}
    assert {each["inputSchema"] for each in answer["apis"]} == {None}


async def test_openapi_has_a_start_for_each_api_that_tells_right_from_wrong(make_described: MakeDescribed):
    api = await make_described()
    page = await api.ask("openapi.json")
    OpenAPI.model_validate(page)
    base = f"/api/v1/workspace/{WORKSPACE}/projects/shop/run"
    assert page["paths"].keys() == {f"{base}/start", f"{base}/{{runId}}/result", f"{base}/{{runId}}/cancel"}
    assert page["openapi"].startswith("3.1.")
    assert page["servers"] == [{"url": "http://api.test"}]
    ids = [call["operationId"] for calls in page["paths"].values() for call in calls.values()]
    assert ids == ["startRun", "getRunResult", "cancelRun"]
    for path, calls in page["paths"].items():
        for call in calls.values():
            assert [each["name"] for each in call["parameters"] if each["in"] == "path"] == ["runId"] * ("{" in path)
    body = page["paths"][f"{base}/start"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["discriminator"] == {
        "propertyName": "api",
        "mapping": {
            "list": "#/components/schemas/ListStart",
            "products/details": "#/components/schemas/ProductsDetailsStart",
        },
    }
    for schema in page["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    check = Draft202012Validator({**body, "components": page["components"]}).is_valid
    right = {"api": "list", "parameters": {"url": "x", "node": {"next": {"next": {}}}}}
    assert check(right)
    assert check({"api": "products/details", "parameters": {"any": "thing"}, "requestTimeout": 3})
    assert not check({**right, "parameters": WRONG})
    assert not check({**right, "parameters": {"url": "x", "node": {"next": {"next": 3}}}})
    assert not check({**right, "authSession": {"id": "none-here"}})
    assert not check({"api": "other", "parameters": {}})
    result = page["components"]["schemas"]["ResultResponse"]["properties"]["result"]
    assert {"$ref": "#/components/schemas/ListResult"} in result["anyOf"]
    returned = Draft202012Validator({"$ref": "#/components/schemas/ListResult", "components": page["components"]})
    assert returned.is_valid([{"next": {}}])
    assert not returned.is_valid([{"next": 3}])


async def test_openapi_of_a_project_that_logs_in_requires_an_auth_session(api: Api):
    page = await api.ask("openapi.json", "members")
    assert "authSession" in page["components"]["schemas"]["ListStart"]["required"]


async def test_a_start_and_a_rerun_are_checked_if_the_project_wants_that(
    make_described: MakeDescribed, make_api: MakeApi
):
    api = await make_described(CHECKED)
    refused = await api.start({"api": "list", "parameters": WRONG})
    assert refused.status_code == 400
    assert refused.json()["details"]["errors"] == [
        {"path": "parameters.url", "expected": "a string"},
        {"path": "parameters.more", "expected": "one of the names url, node"},
    ]
    assert refused.json()["message"] == "parameters.url: expected a string. And 1 more, see details.errors."
    run_id = await api.run(parameters={"url": "x"})
    await api.run(api="products/details", parameters=WRONG)  # it has no schema
    version = (await api.ask(""))["version"]
    stricter = {"apis": {"list": {"inputSchema": {**LIST_SCHEMA, "required": ["node"]}}}}
    await api.store.put(object_keys.input_schemas("shop", version), json.dumps(stricter).encode())
    stricter_api = await make_api(api.runs, api.store)
    rerun = await stricter_api.client.post(f"{api.base}s/{run_id}/rerun")
    assert rerun.status_code == 400
    assert rerun.json()["details"]["path"] == "parameters.node"


async def test_a_repeated_start_is_answered_as_before_whatever_the_schema_says(
    make_described: MakeDescribed, make_api: MakeApi
):
    api = await make_described(CHECKED, list={})
    first = await api.start({"api": "list", "parameters": WRONG}, idempotency_key="k")
    assert first.status_code == 201, first.text
    version = (await api.ask(""))["version"]
    await api.store.put(object_keys.input_schemas("shop", version), json.dumps({"apis": DESCRIBED}).encode())
    later = await make_api(api.runs, api.store)
    again = await later.start({"api": "list", "parameters": WRONG}, idempotency_key="k")
    assert (again.status_code, again.json()["runId"]) == (201, first.json()["runId"])
    assert (await later.start({"api": "list", "parameters": WRONG}, idempotency_key="other")).status_code == 400


async def test_without_the_setting_only_what_is_written_on_a_page_is_checked(make_described: MakeDescribed):
    api = await make_described()
    await api.run(parameters=WRONG)
    pages = await signed_in_client(api)
    form = {"api": "list", "do": "start"}
    refused = await pages.send_form("/projects/shop/playground", **form, parameters=json.dumps(WRONG))
    assert refused.status_code == 400
    assert "expected a string" in refused.text
    assert (await pages.send_form("/projects/shop/playground", **form, parameters='{"url": "x"}')).status_code == 303


@pytest.mark.parametrize("as_lines", [False, True])
async def test_items_of_a_job_are_checked_as_starts_are(make_described: MakeDescribed, as_lines: bool):
    api = await make_described(CHECKED)
    head = {"id": "nightly", "configuration": {}}
    items = [{"apiName": "list", "parameters": parameters} for parameters in ({"url": "x"}, WRONG)]
    sent: dict[str, Any] = {"json": {**head, "payload": items}}
    if as_lines:
        lines = "\n".join(map(json.dumps, [head, *items]))
        sent = {"content": lines, "headers": {"content-type": "application/x-ndjson"}}
    refused = await api.ask("jobs", method="POST", status=400, **sent)
    assert refused["details"]["path"] == "payload[1].parameters.url"
    assert refused["details"].get("line") == (3 if as_lines else None)
    assert [key async for key in api.store.list("jobs/")] == []


async def test_a_store_that_holds_something_else_is_told_with_the_project(
    make_described: MakeDescribed, tmp_path: Path
):
    api = await make_described(CHECKED)
    version = (await api.ask(""))["version"]
    await api.store.put(object_keys.input_schemas("shop", version), b"[")
    answer = await api.start({"api": "list", "parameters": {"url": "x"}})
    assert answer.status_code == 500
    assert "Deploy the project again" in answer.json()["message"]
