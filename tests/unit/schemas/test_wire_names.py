"""Fields whose name in the JSON is not their name in the code: what histories and the store hold keeps its names."""

import json

import pytest
from pydantic_core import to_json

from schemas.workflow.attempt import FailedAttemptDetails
from schemas.workflow.auth import AttemptAuth, CheckReport, LoginState
from schemas.workflow.auth_session import AuthSessionView, CreateInput, RecreateRequest, ValidateInput
from schemas.workflow.base import FlowModel
from schemas.workflow.delivery import PreparedDelivery, SendInput
from schemas.workflow.run import RunCause
from schemas.workflow.sweep import SweepInput, SweepPartResult


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (LoginState, {"login_version": "login"}),
        (AttemptAuth, {"new_login_version": "login"}),
        (CheckReport, {"login_version": "login"}),
        (FailedAttemptDetails, {"login_version": "login"}),
        (AuthSessionView, {"login_version": "login", "pending_run_id": "making"}),
        (CreateInput, {"login_version": "login", "spec": "order"}),
        (RecreateRequest, {"seen_login_version": "login", "validate_run_id": "asker", "spec": "order"}),
        (ValidateInput, {"is_run_started": "begun"}),
        (RunCause, {"code": "word"}),
        (SweepInput, {"totals": "tally"}),
        (SweepPartResult, {"totals": "tally"}),
        (PreparedDelivery, {"reason": "why_not"}),
        (SendInput, {"delivery": "order"}),
    ],
)
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # the values are none of these models
def test_json_keeps_the_names_that_were_written_first(model: type[FlowModel], names: dict[str, str]):
    made = model.model_construct(None, **dict.fromkeys(names, 7))
    for written in (made.model_dump(mode="json"), json.loads(to_json(made))):  # as memos, and as Temporal's converter
        assert {name for name, value in written.items() if value == 7} == {*names.values()}
    read = model.model_json_schema(mode="validation")["properties"].keys()
    assert read >= {*names.values()}
    assert read.isdisjoint(names)
