"""Fields whose name in the JSON is not their name in the code: what histories and the store hold keeps its names."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic_core import to_json

from schemas.workflow.attempt import FailedAttemptDetails
from schemas.workflow.auth import (
    AttemptAuth,
    AuthSessionRef,
    AuthSessionStatus,
    AuthSessionType,
    CheckReport,
    LoginState,
)
from schemas.workflow.auth_session import AuthSessionView, CreateInput, LoginSpec, RecreateRequest, ValidateInput
from schemas.workflow.base import FlowModel, JsonRef
from schemas.workflow.delivery import DeliverInput, PreparedDelivery, SendInput
from schemas.workflow.run import ErrorCode, RunCause, RunError, RunType
from schemas.workflow.sink import DeliverySchedule, SealedSink
from schemas.workflow.sweep import SweepInput, SweepPartResult, SweepTotals

AT = datetime(2026, 1, 2, tzinfo=UTC)
SECOND = timedelta(seconds=1)
REF = AuthSessionRef(id="members", type=AuthSessionType.CREDENTIALS, owner="members")
SPEC = LoginSpec(
    run_id="create-1",
    type=RunType.AUTH_SESSION_CREATE,
    version="v1",
    parameters_key="p",
    create_attempts=1,
    check_attempts=1,
    request_timeout=SECOND,
)
DELIVERY = DeliverInput(
    workspace="w",
    project="shop",
    run_id="run-1",
    delivery_id="sink",
    api="list",
    parameters=JsonRef(text="{}", size=2),
    sink=SealedSink(
        schedule=DeliverySchedule(first_delay=SECOND, factor=2, max_delay=SECOND, give_up_after=SECOND, timeout=SECOND)
    ),
)
VIEW = AuthSessionView(
    id="members",
    type=AuthSessionType.CREDENTIALS,
    status=AuthSessionStatus.READY,
    login_version=7,
    created_at=AT,
    updated_at=AT,
    pending_run_id="create-1",
)
VALIDATE = ValidateInput(
    workspace="w",
    project="shop",
    version="v1",
    ref=REF,
    auto_recreate=True,
    check_attempts=1,
    create_attempts=1,
    request_timeout=SECOND,
    is_run_started=True,
)
ERROR = RunError(code=ErrorCode.AUTH_CHECK_FAILED, category="auth", message="bad")


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (LoginState(login_version=7, key="k"), {"login": 7}),
        (AttemptAuth(ref=REF, new_login_version=7), {"login": 7}),
        (CheckReport(login_version=7, good=True), {"login": 7}),
        (FailedAttemptDetails(number=1, error=ERROR, login_version=7), {"login": 7}),
        (VIEW, {"login": 7, "making": "create-1"}),
        (CreateInput(workspace="w", project="shop", ref=REF, spec=SPEC, login_version=7), {"login": 7, "order": ...}),
        (
            RecreateRequest(validate_run_id="v-1", seen_login_version=7, spec=SPEC),
            {"login": 7, "asker": "v-1", "order": ...},
        ),
        (VALIDATE, {"begun": True}),
        (RunCause(code="terminated", message="It was terminated."), {"word": "terminated"}),
        (SweepInput(older_than=SECOND, totals=SweepTotals(runs=7)), {"tally": ...}),
        (SweepPartResult(totals=SweepTotals(runs=7)), {"tally": ...}),
        (PreparedDelivery(reason="no result"), {"why_not": "no result"}),
        (SendInput(delivery=DELIVERY, body_key="body.json"), {"order": ...}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, FlowModel) else "",
)
def test_json_keeps_the_names_that_were_written_first(model: FlowModel, names: dict[str, Any]):
    written = model.model_dump(mode="json")  # as memos and records are written
    for name, value in names.items():
        assert name in written
        assert value is ... or written[name] == value
    text = to_json(model)  # as Temporal's converter writes it
    assert type(model).model_validate_json(text) == model
    assert type(model).model_validate(written) == model
    assert set(written) == set(type(model).model_json_schema(mode="serialization")["properties"])
