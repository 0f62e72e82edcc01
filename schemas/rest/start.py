"""Start of a Run: the request and its answer (docs/contract.md, section 6.1)."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from schemas.rest.auth_session import AuthSessionOfRun
from schemas.rest.base import ApiName, JsonObject, RequestModel, RequestTimeout, ResponseModel, expects
from schemas.rest.proxy import ProxyUrl
from schemas.rest.sink import Sink

SaveTrace = Annotated[
    bool | Literal["on-failure"],
    Field(description="Whether Attempts leave a trace of Playwright. on-failure: those that do not complete."),
    expects('true, false or "on-failure"'),
]
"""The text is an addition to the contract."""
_Attempts = Annotated[int, Field(ge=1, le=100), expects("a whole number from 1 to 100")]


class Retry(RequestModel):
    """How often an API is tried."""

    maximum_attempts: _Attempts = 3
    """In all, not in addition."""


class StartRequest(RequestModel):
    """The body of `run/start`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"api": "list-products", "parameters": {"category": "chairs"}},
                {
                    "api": "products/details",
                    "parameters": {"id": 7},
                    "retry": {"maximumAttempts": 1},
                    "requestTimeout": 120,
                    "proxy": "http://proxy.example.com:3128",
                    "saveTrace": False,
                },
                {
                    "api": "list-products",
                    "parameters": {},
                    "sink": {"type": "webhook", "url": "https://receiver.example.com/results", "skipOnFail": True},
                },
                {"api": "orders", "parameters": {}, "authSession": {"id": "anna@shop"}},
                {"api": "orders", "parameters": {}, "authSession": {"runtimeInput": {"username": "anna"}}},
            ]
        }
    )

    api: ApiName
    """Path of the API below `api/`, without suffix."""
    parameters: JsonObject = Field(repr=False)
    """Given to the API as they are."""
    retry: Retry = Retry()
    request_timeout: RequestTimeout = 600
    """Seconds; of one Attempt, its clock starts on the Machine."""
    proxy: ProxyUrl | None = Field(default=None, repr=False)
    save_trace: SaveTrace = True
    auth_session: AuthSessionOfRun | None = None
    sink: Sink | None = None

    def canonical(self) -> bytes:
        """Equal for two requests that say the same: sorted, without what equals its default.

        Where a project may have a default of its own, saying ours is not the same as saying nothing.
        """
        meaning = self.model_dump(exclude_defaults=True)
        said = self.model_dump(include={"retry", "request_timeout"}, exclude_unset=True)
        meaning |= {name: value for name, value in said.items() if value != {}}
        return json.dumps(meaning, sort_keys=True, separators=(",", ":")).encode("ascii")


class StartResponse(ResponseModel):
    """The Run is accepted: from now on it is never lost."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"runId": "V1StGXR8_Z5jdHi6B-myT", "status": "pending"}]})

    run_id: str
    status: Literal["pending"] = "pending"
