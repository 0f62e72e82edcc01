"""The wire's models agree with their own examples, with the error tree, and with the flow's words."""

from typing import Any, get_args

import pytest
from pydantic import BaseModel

from callboard.schemas import errors
from callboard.schemas.errors import CallboardError
from callboard.schemas.rest import auth_sessions, run_result
from callboard.schemas.rest.attempt import AttemptBody
from callboard.schemas.rest.auth_sessions import OperationFailed
from callboard.schemas.rest.error_body import ErrorBody
from callboard.schemas.rest.projects import ProjectBody, ProjectList
from callboard.schemas.rest.run_result import ResultResponse
from callboard.schemas.rest.runs import RerunResponse, RunBody, RunList, RunSummaryBody
from callboard.schemas.rest.start_request import StartRequest, StartResponse
from callboard.schemas.workflow.run import ErrorCode, ReasonType, RunStatus

RECORDS = [RunSummaryBody, RunList, RunBody, RerunResponse, AttemptBody, ProjectBody, ProjectList]
AUTH_SESSIONS = [
    *(auth_sessions.CreateAuthSession, auth_sessions.UpdateAuthSession, auth_sessions.ValidateAuthSession),
    *(auth_sessions.ImportAuthSession, auth_sessions.AuthSessionBody, auth_sessions.OperationStarted),
    *(auth_sessions.ValidateStarted, auth_sessions.OperationPending, auth_sessions.OperationInProgress),
    *(auth_sessions.OperationDone, auth_sessions.OperationFailed, auth_sessions.OperationCanceled),
]


@pytest.mark.parametrize("model", [StartRequest, StartResponse, ResultResponse, ErrorBody, *AUTH_SESSIONS])
def test_every_example_is_valid(model: type[BaseModel]):
    examples = model.model_json_schema()["examples"]
    assert examples
    for example in examples:
        parsed = model.model_validate(example)
        assert parsed.model_dump(by_alias=True, exclude_unset=True) == example


@pytest.mark.parametrize("model", RECORDS)
def test_every_example_of_a_record_has_the_fields_that_are_answered(model: type[BaseModel]):
    examples = model.model_json_schema()["examples"]
    assert examples
    for example in examples:
        answered = model.model_validate(example).model_dump(mode="json", by_alias=True)
        assert example.keys() <= answered.keys()
        assert answered.keys() - example.keys() <= {"result", "extendedPayloads"}, "these are a completed Run's"


def test_the_flow_s_words_are_words_of_the_contract():
    assert {status.value for status in RunStatus} == set(get_args(run_result.Status))
    assert {code.value for code in ErrorCode} - set(get_args(run_result.ErrorCode)) == {ErrorCode.QUEUE_TIMEOUT}
    assert {reason.value for reason in ReasonType} <= set(get_args(run_result.ReasonType))


def leaves(error: type[CallboardError]) -> list[type[CallboardError]]:
    return [error, *(leaf for child in error.__subclasses__() for leaf in leaves(child))]


@pytest.mark.parametrize("error", [leaf for leaf in leaves(CallboardError) if leaf is not errors.SettingsError])
def test_every_error_has_a_body(error: type[CallboardError]):
    body = ErrorBody.of(error("A sentence.", details={"path": "x"}), "id").model_dump()
    assert body == {
        "code": error.code,
        "category": error.category,
        "message": "A sentence.",
        "retirable": error.retirable,
        "details": {"path": "x"},
        "correlationId": "id",
    }


@pytest.mark.parametrize("model", [AttemptBody, OperationFailed, ResultResponse, RunBody, RunSummaryBody])
def test_the_examples_of_errors_are_errors_that_runs_can_have(model: type[BaseModel]):
    """Category `user` is that of refused requests (docs/contract.md, section 10.2)."""
    examples: list[dict[str, Any]] = model.model_json_schema()["examples"]
    errors = [example["error"] for example in examples if example.get("error")]
    assert errors
    for error in errors:
        assert error.get("category") != "user"
        assert error["code"] in set(ErrorCode)
