"""The wire's models agree with their own examples, with the error tree, and with the flow's words."""

from typing import get_args

import pytest
from pydantic import BaseModel

from contract import errors
from contract.errors import CallboardError
from contract.flow.run import ErrorCode, ReasonType, RunStatus
from contract.rest import result
from contract.rest.error import ErrorBody
from contract.rest.result import ResultResponse
from contract.rest.start import StartRequest, StartResponse


@pytest.mark.parametrize("model", [StartRequest, StartResponse, ResultResponse, ErrorBody])
def test_every_example_is_valid(model: type[BaseModel]):
    examples = model.model_json_schema()["examples"]
    assert examples
    for example in examples:
        parsed = model.model_validate(example)
        assert parsed.model_dump(by_alias=True, exclude_unset=True) == example


def test_the_flow_s_words_are_words_of_the_contract():
    assert {status.value for status in RunStatus} == set(get_args(result.Status))
    assert {code.value for code in ErrorCode} <= set(get_args(result.ErrorCode))
    assert {reason.value for reason in ReasonType} <= set(get_args(result.ReasonType))


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
