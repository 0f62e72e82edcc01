"""The calls about AuthSessions themselves: what they are sent and what they answer (docs/contract.md, section 7)."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field, JsonValue

from schemas.rest.auth_session import AuthSessionId, LoginAttempts
from schemas.rest.base import Flag, JsonObject, RequestModel, RequestTimeout, ResponseModel
from schemas.rest.browser_state import BrowserState
from schemas.rest.proxy import ProxyUrl
from schemas.rest.result import RunErrorBody, RunReasonBody
from schemas.workflow.auth import AuthSessionStatus, AuthSessionType

_EXAMPLE_ID = "V1StGXR8_Z5jdHi6B-myT"
_PARAMETERS: JsonValue = {"username": "anna", "password": "…"}


class UpdateAuthSession(RequestModel):
    """The body of `update`: what the AuthSession logs in with from now on."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"parameters": _PARAMETERS}]})

    parameters: JsonObject = Field(repr=False)
    """Given to `auth-sessions/create.py`, now and whenever the AuthSession is made anew."""
    proxy: ProxyUrl | None = Field(default=None, repr=False)
    """Of every call that uses this AuthSession and has none of its own. An update without keeps the one there is."""
    create_attempts: LoginAttempts = 3
    check_attempts: LoginAttempts = 3
    """Of the check that follows."""
    request_timeout: RequestTimeout = 600
    """Seconds; of each create and check. Not in the published schema, but sent by examples of it."""
    save_trace: Flag = False
    """Of the create and its check. They fill in passwords, so a trace of them must be asked for (the published
    default is true)."""


class CreateAuthSession(UpdateAuthSession):
    """The body of `create`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"parameters": _PARAMETERS},
                {
                    "id": "anna@shop",
                    "parameters": _PARAMETERS,
                    "proxy": "http://proxy.example.com:3128",
                    "createAttempts": 1,
                    "checkAttempts": 1,
                    "saveTrace": False,
                },
            ]
        }
    )

    id: AuthSessionId | None = None
    """Absent: Callboard makes one."""


class ValidateAuthSession(RequestModel):
    """The body of `validate/start`; all of it is optional."""

    model_config = ConfigDict(json_schema_extra={"examples": [{}, {"autoRecreate": False, "checkAttempts": 1}]})

    auto_recreate: Flag = True
    """Make it anew if the check fails. One of the recorder cannot be."""
    check_attempts: LoginAttempts = 3
    create_attempts: LoginAttempts = 3
    proxy: ProxyUrl | None = Field(default=None, repr=False)
    request_timeout: RequestTimeout = 600
    """Seconds; of each check and create."""


class ImportAuthSession(RequestModel):
    """The body of `import`: a login that was made elsewhere, as a storage state of Playwright has it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "anna@shop",
                    "state": {
                        "cookies": [
                            {
                                "name": "sid",
                                "value": "…",
                                "domain": "shop.example",
                                "path": "/",
                                "expires": -1,
                                "httpOnly": True,
                                "secure": True,
                                "sameSite": "Lax",
                            }
                        ],
                        "origins": [
                            {"origin": "https://shop.example", "localStorage": [{"name": "theme", "value": "dark"}]}
                        ],
                    },
                }
            ]
        }
    )

    id: AuthSessionId | None = None
    """Absent: Callboard makes one. One of the recorder with this id gets the new state."""
    state: BrowserState


class AuthSessionBody(ResponseModel):
    """An AuthSession as it stands."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"id": "anna@shop", "type": "CREDENTIALS", "status": "READY"}]}
    )

    id: str
    type: AuthSessionType
    status: AuthSessionStatus


class LoginStarted(ResponseModel):
    """A Create or Update is accepted: from now on it is never lost."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "started", "operationId": _EXAMPLE_ID}]})

    status: Literal["started"] = "started"
    operation_id: str


class ValidateStarted(ResponseModel):
    """A Validate is accepted: from now on it is never lost."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "pending", "operationId": _EXAMPLE_ID}]})

    status: Literal["pending"] = "pending"
    operation_id: str


class OperationPending(ResponseModel):
    """It waits for a Machine."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "pending"}]})

    status: Literal["pending"] = "pending"


class OperationInProgress(ResponseModel):
    """It has begun, as a Run of its own."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "in_progress", "runId": _EXAMPLE_ID}]})

    status: Literal["in_progress"] = "in_progress"
    run_id: str


class OperationDone(ResponseModel):
    """The AuthSession is good."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "done", "authSessionId": "anna@shop"}]})

    status: Literal["done"] = "done"
    auth_session_id: str


class OperationFailed(ResponseModel):
    """It has failed: there is no such AuthSession, or its old login stays, or its login is not good any more."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "status": "failed",
                    "message": "The password was refused.",
                    "error": {
                        "code": "create-attempts-failed",
                        "category": "auth",
                        "message": "The password was refused.",
                        "retirable": True,
                    },
                }
            ]
        }
    )

    status: Literal["failed"] = "failed"
    message: str
    error: RunErrorBody


class OperationCanceled(ResponseModel):
    """It was ended before it was done."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "status": "canceled",
                    "message": "The Run was canceled.",
                    "reason": {"type": "cancelled-user-action", "message": "The Run was canceled."},
                }
            ]
        }
    )

    status: Literal["canceled"] = "canceled"
    message: str
    reason: RunReasonBody


OperationResult = OperationPending | OperationInProgress | OperationDone | OperationFailed | OperationCanceled
"""How a Create, an Update or a Validate stands."""
