"""A JobRun that has paused itself for the want of a login waits for another one that is ready."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from callboard.schemas.workflow.auth import AuthSessionRef, AuthSessionStatus, AuthSessionType
from callboard.schemas.workflow.auth_session import AuthSessionInput, AuthSessionView
from callboard.schemas.workflow.job_run import NOT_READY, AwaitAuthSessionInput
from callboard.temporal.auth_sessions import AuthSessions
from tests.support.control_worker import JobLab
from tests.support.job_run_stage import auth
from tests.support.stage import WORKSPACE

ANNA = "anna@shop"


async def create(lab: JobLab, status: AuthSessionStatus) -> None:
    """An AuthSession whose login has the version 3."""
    ref = AuthSessionRef(id=ANNA, type=AuthSessionType.RECORDER, owner=ANNA)
    now = datetime.now(UTC)
    view = AuthSessionView(
        id=ANNA, type=ref.type, status=status, login_version=3, state_key="state", created_at=now, updated_at=now
    )
    await AuthSessions(lab.client).create(
        AuthSessionInput(workspace=WORKSPACE, project=lab.project, ref=ref, view=view)
    )


async def wait(lab: JobLab, bad_login: int | None) -> None:
    input = AwaitAuthSessionInput(workspace=WORKSPACE, project=lab.project, auth=auth(ANNA), bad_login=bad_login)
    await ActivityEnvironment().run(lab.job_run_activities().await_auth_session, input)


async def test_another_login_that_is_ready_ends_the_wait(job_lab: JobLab) -> None:
    await create(job_lab, AuthSessionStatus.READY)
    await wait(job_lab, bad_login=2)
    await wait(job_lab, bad_login=None)


@pytest.mark.parametrize(
    ("status", "bad_login", "why"),
    [
        (AuthSessionStatus.READY, 3, "no other login yet"),
        (AuthSessionStatus.EXPIRED, 2, "is EXPIRED"),
        (None, 2, "There is no AuthSession"),
    ],
)
async def test_until_then_it_is_looked_at_again(
    job_lab: JobLab, status: AuthSessionStatus | None, bad_login: int, why: str
) -> None:
    if status is not None:
        await create(job_lab, status)
    with pytest.raises(ApplicationError, match=why) as raised:
        await wait(job_lab, bad_login=bad_login)
    assert raised.value.type == NOT_READY
    assert not raised.value.non_retryable
