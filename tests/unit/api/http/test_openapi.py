"""The routes, and the OpenAPI page: complete, with examples, and served without an outside address."""

import re
from urllib.parse import urlsplit

import pytest
from fastapi.routing import APIRoute

from api.dashboard.rendering import CONTENT_SECURITY_POLICY
from tests.support.api_in_process import Api

PROJECT = "/api/v1/workspace/{workspaceId}/projects/{projectName}"
ALWAYS = {"401", "403", "404", "429", "500", "503"}
"""What every call of a project may be answered with."""


async def test_openapi_describes_every_route_with_its_errors(api: Api):
    page = (await api.client.get("/openapi.json")).json()
    routes = {route.path_format for route in api.app.routes if isinstance(route, APIRoute)}
    others = {"/healthz", "/readyz", "/job-run-results"}
    assert set(page["paths"]) == {path for path in routes if path.startswith("/api/")} | others
    assert len(page["paths"]) > 30
    ids = [operation["operationId"] for path in page["paths"].values() for operation in path.values()]
    assert len(set(ids)) == len(ids)
    # Generators of clients make names of functions of them.
    assert [each for each in ids if not re.fullmatch(r"[a-z]+([A-Z][a-z]+)*", each)] == []
    for path in page["paths"].keys() - others:
        for operation in page["paths"][path].values():
            assert operation["responses"].keys() >= ALWAYS
            assert "This needs the scope `" in operation["description"]
    operations = [(name, each) for name, path in page["paths"].items() for each in path.values()]
    assert [name for name, operation in operations if "security" in operation] == ["/job-run-results"]
    assert page["paths"]["/job-run-results"]["get"]["security"] == []
    assert page["security"] == [{"APIKeyHeader": []}, {"HTTPBearer": []}]
    assert page["components"]["securitySchemes"]["APIKeyHeader"]["name"] == "x-api-key"


@pytest.mark.parametrize(
    ("call", "body", "success", "refusals"),
    [
        ("run/start", "StartRequest", "StartResponse", {"400", "403", "409", "413"}),
        ("auth-sessions/create", "CreateAuthSession", "OperationStarted", {"400", "403", "409", "413"}),
        ("auth-sessions/import", "ImportAuthSession", "AuthSessionBody", {"400", "403", "409", "413"}),
        ("auth-sessions/{authSessionId}/update", "UpdateAuthSession", "OperationStarted", {"400", "403", "409", "413"}),
        (
            "auth-sessions/{authSessionId}/validate/start",
            "ValidateAuthSession",
            "ValidateStarted",
            {"400", "403", "413"},
        ),
    ],
)
async def test_openapi_describes_what_a_call_takes_and_gives(
    api: Api, call: str, body: str, success: str, refusals: set[str]
):
    operation = (await api.client.get("/openapi.json")).json()["paths"][f"{PROJECT}/{call}"]["post"]
    parts = (operation["requestBody"], operation["responses"]["201"])
    assert [part["content"]["application/json"]["schema"] for part in parts] == [
        {"$ref": f"#/components/schemas/{name}"} for name in (body, success)
    ]
    assert operation["responses"].keys() == {*ALWAYS, "201", *refusals}


async def test_every_reference_in_openapi_leads_somewhere_and_examples_are_there(api: Api):
    text = (await api.client.get("/openapi.json")).text
    page = (await api.client.get("/openapi.json")).json()
    schemas = page["components"]["schemas"]
    for name in re.findall(r'"\$ref":"#/components/schemas/([^"]+)"', text):
        assert name in schemas
    for name in (
        *("StartRequest", "StartResponse", "ResultResponse", "ErrorBody", "DeliveryBody"),
        *("AuthSessionBody", "OperationStarted"),
        *("RunSummaryBody", "RunList", "RunBody", "RerunResponse", "AttemptBody", "ProjectBody", "ProjectList"),
        *("CreateAuthSession", "UpdateAuthSession", "ValidateAuthSession", "ImportAuthSession", "ValidateStarted"),
        *("OperationPending", "OperationInProgress", "OperationDone", "OperationFailed", "OperationCanceled"),
    ):
        assert schemas[name]["examples"]


async def test_openapi_says_the_bounds_and_what_fields_mean(api: Api):
    schemas = (await api.client.get("/openapi.json")).json()["components"]["schemas"]
    attempts = schemas["Retry"]["properties"]["maximumAttempts"]
    assert (attempts["minimum"], attempts["maximum"], attempts["default"]) == (1, 100, 3)
    timeout = schemas["StartRequest"]["properties"]["requestTimeout"]
    assert (timeout["minimum"], timeout["maximum"], timeout["default"]) == (1, 43_200, 600)
    assert schemas["StartRequest"]["required"] == ["api", "parameters"]
    assert schemas["StartRequest"]["additionalProperties"] is False
    assert timeout["description"].startswith("The time limit of one")
    assert schemas["AttemptBody"]["properties"]["pageUrl"]["description"].startswith("The URL of the page")


async def test_the_page_loads_nothing_from_outside(api: Api):
    del api.client.headers["x-api-key"]
    page = await api.client.get("/docs")
    assert page.status_code == 200
    assets = re.findall(r'<(?:script|link)[^>]* (?:src|href)="([^"]+)"', page.text)
    assert any("swagger-ui-bundle" in asset for asset in assets)
    for asset in assets:
        assert urlsplit(asset).netloc == ""
        assert (await api.client.get(asset)).status_code == 200
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert page.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
