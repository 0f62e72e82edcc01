"""The OpenAPI page: complete, with examples, and served without an outside address."""

import re
from typing import Any
from urllib.parse import urlsplit

RUN = "/api/v1/workspace/{workspaceId}/projects/{projectName}/run"


async def test_openapi_describes_every_route_with_its_errors(api: Any):
    page = (await api.client.get("/openapi.json")).json()
    assert set(page["paths"]) == {
        f"{RUN}/start",
        f"{RUN}/{{runId}}/result",
        f"{RUN}/{{runId}}/cancel",
        "/healthz",
        "/readyz",
    }
    start = page["paths"][f"{RUN}/start"]["post"]
    assert set(start["responses"]) == {"201", "400", "401", "403", "404", "409", "413", "500", "501", "503"}
    assert set(page["paths"][f"{RUN}/{{runId}}/result"]["get"]["responses"]) == {
        "200",
        "400",
        "401",
        "404",
        "500",
        "503",
    }
    assert start["requestBody"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/StartRequest"
    }
    assert page["components"]["securitySchemes"]["APIKeyHeader"]["name"] == "x-api-key"


async def test_every_reference_in_openapi_leads_somewhere_and_examples_are_there(api: Any):
    text = (await api.client.get("/openapi.json")).text
    page = (await api.client.get("/openapi.json")).json()
    schemas = page["components"]["schemas"]
    for name in re.findall(r'"\$ref":"#/components/schemas/([^"]+)"', text):
        assert name in schemas
    for name in ("StartRequest", "StartResponse", "ResultResponse", "ErrorBody"):
        assert schemas[name]["examples"]


async def test_openapi_says_the_bounds(api: Any):
    schemas = (await api.client.get("/openapi.json")).json()["components"]["schemas"]
    attempts = schemas["Retry"]["properties"]["maximumAttempts"]
    assert (attempts["minimum"], attempts["maximum"], attempts["default"]) == (1, 100, 3)
    timeout = schemas["StartRequest"]["properties"]["requestTimeout"]
    assert (timeout["minimum"], timeout["maximum"], timeout["default"]) == (1, 43_200, 600)
    assert schemas["StartRequest"]["required"] == ["api", "parameters"]
    assert schemas["StartRequest"]["additionalProperties"] is False


async def test_the_page_loads_nothing_from_outside(api: Any):
    del api.client.headers["x-api-key"]
    page = await api.client.get("/docs")
    assert page.status_code == 200
    assets = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(assets) >= 3
    for asset in assets:
        assert urlsplit(asset).netloc == ""
        assert (await api.client.get(asset)).status_code == 200
    assert '"validatorUrl": null' in page.text
    assert "http://" not in page.text
    assert "https://" not in page.text
