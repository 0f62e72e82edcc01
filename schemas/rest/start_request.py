"""Start of a Run: the request and its answer (docs/contract.md, section 6.1)."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from schemas.rest.base import ApiName, JsonObject, QueueTimeout, RequestModel, RequestTimeout, ResponseModel, expects
from schemas.rest.proxy import ProxyUrl
from schemas.rest.run_auth_session import RunAuthSession
from schemas.rest.sink import Sink

SaveTrace = Annotated[
    bool | Literal["on-failure"],
    Field(description="Whether Attempts leave a Playwright trace; with on-failure, only those that do not complete."),
    expects('true, false or "on-failure"'),
]
"""The text is an addition to the contract."""
_Attempts = Annotated[int, Field(ge=1, le=100), expects("a whole number from 1 to 100")]


class Retry(RequestModel):
    """The number of Attempts of a Run."""

    maximum_attempts: _Attempts = 3
    """The maximum number of Attempts, the first one included."""


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
                    "queueTimeout": 3600,
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
    """The name of the API: its path below `api/`, without the suffix."""
    parameters: JsonObject = Field(repr=False)
    """The parameters of the API."""
    retry: Retry = Retry()
    request_timeout: RequestTimeout = 600
    """The time limit of one Attempt in seconds, from its start on a Machine."""
    queue_timeout: QueueTimeout | None = None
    """The longest time in seconds that the Run may wait for a Machine; then it fails. An addition to the contract."""
    proxy: ProxyUrl | None = Field(default=None, repr=False)
    save_trace: SaveTrace = True
    auth_session: RunAuthSession | None = None
    sink: Sink | None = None

    def canonical(self) -> bytes:
        """Return bytes that are equal for two requests with the same meaning: sorted, without values that are defaults.

        A field that a project can default counts whenever it was sent, even with Callboard's default.
        """
        meaning = self.model_dump(exclude_defaults=True)
        sent = self.model_dump(include={"retry", "request_timeout"}, exclude_unset=True)
        meaning |= {name: value for name, value in sent.items() if value != {}}
        return json.dumps(meaning, sort_keys=True, separators=(",", ":")).encode("ascii")


class StartResponse(ResponseModel):
    """An accepted Run. It is never lost."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"runId": "V1StGXR8_Z5jdHi6B-myT", "status": "pending"}]})

    run_id: str
    status: Literal["pending"] = "pending"
