"""The OpenAPI page: complete, with examples, and served without an outside address."""

import re
from typing import Any
from urllib.parse import urlsplit

from schemas.rest.attempt import AttemptBody
from schemas.rest.projects import ProjectBody, ProjectList
from schemas.rest.runs import RerunResponse, RunBody, RunList, RunSummaryBody
from tests.support.api_in_process import Api

PROJECT = "/api/v1/workspace/{workspaceId}/projects/{projectName}"
RUN = f"{PROJECT}/run"
AUTH = f"{PROJECT}/auth-sessions"
JOBS = f"{PROJECT}/jobs"
JOB_RUN = f"{JOBS}/{{jobId}}/runs/{{jobRunId}}"
ATTEMPT = f"{PROJECT}/runs/{{runId}}/attempts/{{number}}"


async def test_openapi_describes_every_route_with_its_errors(api: Api):
    page = (await api.client.get("/openapi.json")).json()
    assert set(page["paths"]) == {
        f"{RUN}/start",
        f"{RUN}/{{runId}}/result",
        f"{RUN}/{{runId}}/cancel",
        f"{PROJECT}/runs",
        f"{PROJECT}/runs/{{runId}}",
        f"{PROJECT}/runs/{{runId}}/rerun",
        ATTEMPT,
        f"{ATTEMPT}/log",
        f"{ATTEMPT}/trace",
        f"{ATTEMPT}/screenshot",
        f"{PROJECT}/runs/{{runId}}/deliveries",
        f"{PROJECT}/runs/{{runId}}/deliveries/{{deliveryId}}/redeliver",
        AUTH,
        f"{AUTH}/create",
        f"{AUTH}/create/{{operationId}}/result",
        f"{AUTH}/import",
        f"{AUTH}/{{authSessionId}}",
        f"{AUTH}/{{authSessionId}}/update",
        f"{AUTH}/{{authSessionId}}/update/{{operationId}}/result",
        f"{AUTH}/{{authSessionId}}/validate/start",
        f"{AUTH}/{{authSessionId}}/validate/{{operationId}}/result",
        JOBS,
        f"{JOBS}/{{jobId}}",
        *(f"{JOBS}/{{jobId}}/{name}" for name in ("payload", "pause", "resume", "trigger", "runs")),
        JOB_RUN,
        *(f"{JOB_RUN}/{name}" for name in ("pause", "resume", "terminate", "results")),
        f"{PROJECT}/job-runs/{{jobRunId}}",
        "/job-run-results",
        PROJECT.rpartition("/")[0],
        PROJECT,
        "/healthz",
        "/readyz",
    }
    start = page["paths"][f"{RUN}/start"]["post"]
    assert set(start["responses"]) == {"201", "400", "401", "403", "404", "409", "413", "429", "500", "503"}
    assert set(page["paths"][f"{RUN}/{{runId}}/result"]["get"]["responses"]) == {
        "200",
        "400",
        "401",
        "404",
        "429",
        "500",
        "503",
    }
    assert start["requestBody"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/StartRequest"
    }
    assert page["components"]["securitySchemes"]["APIKeyHeader"]["name"] == "x-api-key"
    assert start["security"] == [{"APIKeyHeader": []}, {"HTTPBearer": []}]


async def test_every_reference_in_openapi_leads_somewhere_and_examples_are_there(api: Api):
    text = (await api.client.get("/openapi.json")).text
    page = (await api.client.get("/openapi.json")).json()
    schemas = page["components"]["schemas"]
    for name in re.findall(r'"\$ref":"#/components/schemas/([^"]+)"', text):
        assert name in schemas
    for name in (
        *(
            "StartRequest",
            "StartResponse",
            "ResultResponse",
            "ErrorBody",
            "AuthSessionBody",
            "OperationStarted",
            "DeliveryBody",
        ),
        *("RunSummaryBody", "RunList", "RunBody", "RerunResponse", "AttemptBody", "ProjectBody", "ProjectList"),
        *("CreateAuthSession", "UpdateAuthSession", "ValidateAuthSession", "ImportAuthSession", "ValidateStarted"),
        *("OperationPending", "OperationInProgress", "OperationDone", "OperationFailed", "OperationCanceled"),
    ):
        assert schemas[name]["examples"]


async def test_openapi_describes_the_calls_about_auth_sessions(api: Api):
    paths = (await api.client.get("/openapi.json")).json()["paths"]
    for path, body, success, refusals in (
        ("/create", "CreateAuthSession", "OperationStarted", {"400", "403", "409", "413"}),
        ("/import", "ImportAuthSession", "AuthSessionBody", {"400", "403", "409", "413"}),
        ("/{authSessionId}/update", "UpdateAuthSession", "OperationStarted", {"400", "403", "409", "413"}),
        ("/{authSessionId}/validate/start", "ValidateAuthSession", "ValidateStarted", {"400", "403", "413"}),
    ):
        operation = paths[AUTH + path]["post"]
        assert content(operation["requestBody"]) == {"$ref": f"#/components/schemas/{body}"}
        assert content(operation["responses"]["201"]) == {"$ref": f"#/components/schemas/{success}"}
        assert set(operation["responses"]) == {"201", "401", "404", "429", "500", "503", *refusals}
    assert set(paths[f"{AUTH}/{{authSessionId}}"]["delete"]["responses"]) == {
        "204",
        "401",
        "404",
        "409",
        "429",
        "500",
        "503",
    }
    result = paths[f"{AUTH}/create/{{operationId}}/result"]["get"]["responses"]
    assert len(content(result["200"])["anyOf"]) == 5


def content(part: dict[str, Any]) -> dict[str, Any]:
    return part["content"]["application/json"]["schema"]


async def test_the_examples_of_records_are_what_is_answered(api: Api):
    for model in (RunSummaryBody, RunList, RunBody, RerunResponse, AttemptBody, ProjectBody, ProjectList):
        extra = model.model_config.get("json_schema_extra")
        assert isinstance(extra, dict)
        examples = extra["examples"]
        assert isinstance(examples, list)
        for example in examples:
            shown = model.model_validate(example).model_dump(mode="json", by_alias=True, exclude_unset=True)
            assert isinstance(example, dict)
            assert shown.keys() == example.keys()


async def test_openapi_says_the_bounds(api: Api):
    schemas = (await api.client.get("/openapi.json")).json()["components"]["schemas"]
    attempts = schemas["Retry"]["properties"]["maximumAttempts"]
    assert (attempts["minimum"], attempts["maximum"], attempts["default"]) == (1, 100, 3)
    timeout = schemas["StartRequest"]["properties"]["requestTimeout"]
    assert (timeout["minimum"], timeout["maximum"], timeout["default"]) == (1, 43_200, 600)
    assert schemas["StartRequest"]["required"] == ["api", "parameters"]
    assert schemas["StartRequest"]["additionalProperties"] is False


async def test_the_page_loads_nothing_from_outside(api: Api):
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


async def test_openapi_tells_what_the_fields_of_bodies_mean(api: Api):
    schemas = (await api.client.get("/openapi.json")).json()["components"]["schemas"]
    assert schemas["StartRequest"]["properties"]["requestTimeout"]["description"].startswith("The time limit of one")
    assert schemas["AttemptBody"]["properties"]["pageUrl"]["description"].startswith("The URL of the page")
