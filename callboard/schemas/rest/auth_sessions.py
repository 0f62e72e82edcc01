"""The calls about AuthSessions themselves: what they are sent and what they answer (docs/contract.md, section 7)."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field, JsonValue

from callboard.schemas.rest.base import Flag, RequestModel, RequestTimeout, ResponseModel, absent_if_none
from callboard.schemas.rest.browser_state import BrowserState
from callboard.schemas.rest.handoffs import OpenHandoff
from callboard.schemas.rest.login_parameters import LoginParameters
from callboard.schemas.rest.proxy import ProxyUrl
from callboard.schemas.rest.run_auth_session import AuthAttempts, AuthSessionId
from callboard.schemas.rest.run_result import RunErrorBody, RunReasonBody
from callboard.schemas.rest.runs import LeaseBody
from callboard.schemas.rest.start_url import StartUrl
from callboard.schemas.workflow.auth import AuthSessionStatus, AuthSessionType

_EXAMPLE_ID = "V1StGXR8_Z5jdHi6B-myT"
_PARAMETERS: JsonValue = {"username": "anna", "password": "…"}


class UpdateAuthSession(RequestModel):
    """The body of `update`: the new parameters of the AuthSession."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"parameters": _PARAMETERS}]})

    parameters: LoginParameters = Field(repr=False)
    """The parameters of `auth-sessions/create.py`, now and whenever the AuthSession is recreated. In place of a value
    may stand a reference to a secret, such as `{"$secret": "SHOP_PASSWORD"}`."""
    proxy: ProxyUrl | None = Field(default=None, repr=False)
    """The proxy of every Run that uses this AuthSession and names none. An update without it keeps the present one."""
    create_attempts: AuthAttempts = 3
    check_attempts: AuthAttempts = 3
    """The number of times that the check after the create is tried at most."""
    request_timeout: RequestTimeout = 600
    """The time limit of each create and check, in seconds."""
    save_trace: Flag = False
    """Whether the create and its check leave a trace. They fill in passwords, so the default is false."""


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
    """The id of the new AuthSession; if it is absent, Callboard generates one."""


class ValidateAuthSession(RequestModel):
    """The body of `validate/start`. All fields are optional."""

    model_config = ConfigDict(json_schema_extra={"examples": [{}, {"autoRecreate": False, "checkAttempts": 1}]})

    auto_recreate: Flag = True
    """Whether the AuthSession is recreated if its check fails. A recorded one never is."""
    check_attempts: AuthAttempts = 3
    create_attempts: AuthAttempts = 3
    proxy: ProxyUrl | None = Field(default=None, repr=False)
    request_timeout: RequestTimeout = 600
    """The time limit of each check and create, in seconds."""


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
    """The id; if it is absent, Callboard generates one. The state of a recorded AuthSession is replaced."""
    state: BrowserState


class RenewAuthSession(RequestModel):
    """The body of `{authSessionId}/record`. All fields are optional."""

    model_config = ConfigDict(json_schema_extra={"examples": [{}, {"startUrl": "https://shop.example/login"}]})

    start_url: StartUrl | None = None
    """The address at which the person begins to log in, which is shown to people. Without it, the last one of the
    AuthSession, or else the one of the project's settings."""
    proxy: ProxyUrl | None = Field(default=None, repr=False)
    """The proxy of the browser, and of every Run that uses this AuthSession and names none. Without it, the AuthSession
    keeps the one that it has."""


class RecordAuthSession(RenewAuthSession):
    """The body of `record`. All fields are optional."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"startUrl": "https://shop.example/login"},
                {
                    "id": "anna@shop",
                    "startUrl": "https://shop.example/login",
                    "proxy": "http://proxy.example.com:3128",
                },
            ]
        }
    )

    id: AuthSessionId | None = None
    """The id of the new AuthSession; if it is absent, Callboard generates one."""


class AuthSessionBody(ResponseModel):
    """An AuthSession with its type and status."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"id": "anna@shop", "type": "CREDENTIALS", "status": "READY"}]}
    )

    id: str
    type: AuthSessionType
    status: AuthSessionStatus


class AuthSessionDetails(AuthSessionBody):
    """An AuthSession, with who uses its login alone."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "anna@shop",
                    "type": "CREDENTIALS",
                    "status": "READY",
                    "lease": {"heldBy": _EXAMPLE_ID, "waiting": 2},
                }
            ]
        }
    )

    lease: LeaseBody


class OperationStarted(ResponseModel):
    """An accepted Create or Update. It is never lost."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "started", "operationId": _EXAMPLE_ID}]})

    status: Literal["started"] = "started"
    operation_id: str


class RecordStarted(OperationStarted):
    """An accepted record. It is never lost."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "status": "started",
                    "operationId": _EXAMPLE_ID,
                    "url": f"https://callboard.example.com/projects/shop/auth-sessions/record/{_EXAMPLE_ID}",
                }
            ]
        }
    )

    url: str
    """The page with the browser in which a person who is signed in logs in."""


class ValidateStarted(ResponseModel):
    """An accepted Validate. It is never lost."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "pending", "operationId": _EXAMPLE_ID}]})

    status: Literal["pending"] = "pending"
    operation_id: str


class OperationPending(ResponseModel):
    """The operation waits for a Machine."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "pending"}]})

    status: Literal["pending"] = "pending"


class OperationInProgress(ResponseModel):
    """The operation has started, as a Run of its own."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "in_progress", "runId": _EXAMPLE_ID}]})

    status: Literal["in_progress"] = "in_progress"
    run_id: str
    handoff: OpenHandoff | None = Field(default=None, exclude_if=absent_if_none)
    """The question of its Run that waits for a person; absent if there is none."""


class OperationDone(ResponseModel):
    """The operation has completed, and the login is good."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "done", "authSessionId": "anna@shop"}]})

    status: Literal["done"] = "done"
    auth_session_id: str


class OperationFailed(ResponseModel):
    """The operation has failed.

    After a Create or a first record there is no AuthSession, after an Update or a renewal the old login stays, and
    after a Validate it is expired.
    """

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
    """The operation was canceled."""

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
"""The result of a Create, an Update, a Validate or a record."""
