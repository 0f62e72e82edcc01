"""Workflow `Run` whose checks are made by the workers that take its Attempts (contract 10, rules 2 to 4)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.worker import UnsandboxedWorkflowRunner

from contract.flow import names
from contract.flow.attempt import AttemptKind, AttemptOutcome, AttemptStarted, AttemptStatus, StopInput, Tried
from contract.flow.auth import AuthSessionStatus
from contract.flow.auth_session import CheckGood, CheckStarted
from contract.flow.run import ErrorCode, RunOutcome, RunStatus
from tests.workflows.after_check_shapes import begin_announced, first_validate
from tests.workflows.logins import AT, FIRST, LoginStage, good, stops
from tests.workflows.scripted import Held, completed, ends, failed
from tests.workflows.test_run import scheduled
from tests.workflows.test_run_login import assert_not_validated
from tests.workflows.test_validate import assert_canceled, numbers
from workflows import validate

_MORE_THAN_ANY = 5
"""Attempts that no shape here comes to."""

TOGETHER, ALONE, LOST = names.ATTEMPT_AFTER_CHECK, names.ATTEMPT, names.RECORD_LOST


async def children(stage: LoginStage) -> list[str]:
    """What the Run has started."""
    return [
        event.child_workflow_execution_started_event_attributes.workflow_execution.workflow_id
        for event in await stage.events()
        if event.event_type == EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED
    ]


async def validates(stage: LoginStage) -> dict[int, tuple[RunStatus, int]]:
    """How the Validates of the Run ended, and with how many Attempts; by the number of the Attempt that comes after."""
    ended: dict[int, tuple[RunStatus, int]] = {}
    for number in range(1, _MORE_THAN_ANY):
        run_id = names.validate_run_id(stage.run_id, number)
        if await stage.events(run_id):
            outcome = await stage.outcome_of(run_id)
            ended[number] = (outcome.status, outcome.attempts)
    return ended


async def ordered(stage: LoginStage, of: str | None = None) -> list[str]:
    """The activities of the Run, or of this workflow."""
    return [each.activity_type.name for each in scheduled(await stage.events(of))]


def assert_completed(outcome: RunOutcome, attempts: int = 1) -> None:
    assert (outcome.status, outcome.attempts, outcome.error) == (RunStatus.COMPLETED, attempts, None)


def assert_crashed(outcome: RunOutcome) -> None:
    """With its one Attempt."""
    assert (outcome.status, outcome.attempts) == (RunStatus.FAILED, 1)
    assert outcome.error
    assert outcome.error.code is ErrorCode.API_ATTEMPTS_FAILED
    assert outcome.error.details
    assert outcome.error.details["last_error"]["code"] == "script-process-crashed"


def logins(stage: LoginStage) -> list[int]:
    """Which login each Attempt began with."""
    return [order.auth.state.login for order in stage.orders if order.auth and order.auth.state]


def lost(stage: LoginStage) -> list[tuple[str, int, AttemptKind]]:
    """The Attempts that were written down as lost."""
    return [(lost.run_id, lost.number, lost.kind) for lost in stage.lost]


def the_check(stage: LoginStage) -> tuple[str, int, AttemptKind]:
    """The first one of the first Validate."""
    return (first_validate(stage), 1, AttemptKind.CHECK)


def the_attempt(stage: LoginStage) -> tuple[str, int, AttemptKind]:
    """The first one of the Run."""
    return (stage.run_id, 1, AttemptKind.API)


# A check that is good.


async def test_after_a_check_that_is_good_at_once_there_is_nothing_but_the_attempt(play_login: Any) -> None:
    stage = await play_login("good-at-once")
    assert_completed(stage.outcome)
    assert stage.outcome.started_at == AT, "a Run begins with its first check"
    assert (await ordered(stage), await children(stage)) == ([TOGETHER], [])
    (order,) = stage.orders
    assert order.auth
    assert (order.auth.ref, order.auth.state, order.auth.save_back) == (stage.ref, FIRST, True)


async def test_its_validate_was_started_by_the_worker_and_has_nothing_to_do(play_login: Any) -> None:
    stage = await play_login("good-at-once")
    outcome = await stage.outcome_of(first_validate(stage))
    assert (outcome.status, outcome.attempts, outcome.login) == (RunStatus.COMPLETED, 1, FIRST)
    assert outcome.started_at == AT
    assert await ordered(stage, first_validate(stage)) == []


async def test_the_check_is_ordered_as_a_try_of_the_validate(play_login: Any) -> None:
    stage = await play_login("good-at-once")
    (order,) = stage.together
    assert (order.check.run_id, order.check.number) == (first_validate(stage), 1)
    assert (order.check.parent_run_id, order.check.project) == (stage.run_id, stage.project)
    assert (order.attempt.run_id, order.attempt.number) == (stage.run_id, 1)
    assert order.attempt.auth
    assert order.attempt.auth.state is None, "the check tells with which login to begin"
    assert order.validate_order.parent_run_id == stage.run_id
    (both,) = scheduled(await stage.events())
    assert both.activity_id == "attempt-1"
    assert both.task_queue.name == f"callboard-project-{stage.project}"
    assert both.retry_policy.maximum_attempts == 1
    assert both.heartbeat_timeout.ToTimedelta().total_seconds() == 30
    assert both.priority.priority_key == names.PRIORITY_NOT_BEGUN


async def test_a_run_starts_the_validate_that_the_worker_could_not_start(play_login: Any) -> None:
    stage = await play_login("good-at-once-but-not-recorded")
    assert_completed(stage.outcome)
    assert (await ordered(stage), await children(stage)) == ([TOGETHER], [first_validate(stage)])
    assert await validates(stage) == {1: (RunStatus.COMPLETED, 1)}
    assert await ordered(stage, first_validate(stage)) == []


async def test_a_check_that_takes_a_moment_is_that_of_a_validate_which_is_there_meanwhile(play_login: Any) -> None:
    stage = await play_login("good-after-a-moment")
    assert_completed(stage.outcome)
    assert (await ordered(stage), await children(stage)) == ([TOGETHER], [first_validate(stage)])
    outcome = await stage.outcome_of(first_validate(stage))
    assert (outcome.status, outcome.attempts, outcome.login) == (RunStatus.COMPLETED, 1, FIRST)
    assert await ordered(stage, first_validate(stage)) == []
    assert logins(stage) == [1]


async def test_each_attempt_comes_after_a_check_of_its_own(play_login: Any) -> None:
    stage = await play_login("good-before-each-attempt")
    assert_completed(stage.outcome, attempts=2)
    assert await ordered(stage) == [TOGETHER, TOGETHER]
    assert await validates(stage) == {1: (RunStatus.COMPLETED, 1), 2: (RunStatus.COMPLETED, 1)}
    assert (logins(stage), numbers(stage)) == ([1, 1], [1, 1])
    priorities = [both.priority.priority_key for both in scheduled(await stage.events())]
    assert priorities == [names.PRIORITY_NOT_BEGUN, names.PRIORITY_BEGUN]


async def test_a_run_whose_auth_session_was_deleted_since_its_check_ends_as_if_that_had_failed(play_login: Any) -> None:
    stage = await play_login("good-but-the-session-is-deleted-before-the-attempt")
    details = assert_not_validated(stage, "deleted")
    assert details["error"]["code"] == "auth-check-failed"
    assert (stage.outcome.attempts, len(stage.orders)) == (1, 1)
    assert await validates(stage) == {1: (RunStatus.COMPLETED, 1)}


async def test_an_older_worker_makes_the_check_as_it_always_did(play_login: Any) -> None:
    stage = await play_login("good-on-an-older-worker")
    assert_completed(stage.outcome)
    assert (await ordered(stage), await children(stage)) == ([TOGETHER, ALONE], [first_validate(stage)])
    assert await ordered(stage, first_validate(stage)) == [names.CHECK]
    assert await validates(stage) == {1: (RunStatus.COMPLETED, 1)}
    assert (numbers(stage), logins(stage)) == ([1], [1])


# A check that is not.


async def test_a_login_that_is_not_good_is_made_anew_before_the_attempt(play_login: Any) -> None:
    stage = await play_login("first-check-bad-and-made-anew")
    assert_completed(stage.outcome)
    assert (await ordered(stage), await children(stage)) == ([TOGETHER, ALONE], [first_validate(stage)])
    (create,) = stage.created
    assert create.parent_run_id == first_validate(stage)
    assert numbers(stage) == [1, 2], "one allowed of the login that is there, and one of the new one"
    assert await validates(stage) == {1: (RunStatus.COMPLETED, 2)}
    assert (logins(stage), stage.stops, stage.lost) == ([2], [], [])
    attempts = scheduled(await stage.events())
    assert [each.activity_id for each in attempts] == ["attempt-1"] * 2
    assert attempts[1].priority.priority_key == names.PRIORITY_BEGUN


async def test_the_validate_goes_on_with_the_checks_that_are_left(play_login: Any) -> None:
    stage = await play_login("first-check-bad-and-second-good")
    assert_completed(stage.outcome)
    assert await ordered(stage) == [TOGETHER, ALONE]
    (check,) = scheduled(await stage.events(first_validate(stage)))
    assert (check.retry_policy.maximum_attempts, check.priority.priority_key) == (1, names.PRIORITY_BEGUN)
    assert await validates(stage) == {1: (RunStatus.COMPLETED, 2)}
    assert (numbers(stage), stage.created, logins(stage)) == ([1, 2], [], [1])


async def test_a_validate_that_is_there_is_told_how_its_first_check_has_ended(play_login: Any) -> None:
    stage = await play_login("first-check-bad-after-a-moment")
    assert_completed(stage.outcome)
    assert (await ordered(stage), await children(stage)) == ([TOGETHER, ALONE], [first_validate(stage)])
    assert await validates(stage) == {1: (RunStatus.COMPLETED, 2)}
    assert (numbers(stage), stage.created, logins(stage)) == ([1, 2], [], [1])


async def test_a_run_whose_login_is_not_good_makes_no_attempt_and_names_the_validate(play_login: Any) -> None:
    stage = await play_login("first-check-bad-and-left-so")
    details = assert_not_validated(stage, "what it returned is not true")
    assert details["validateRunId"] == first_validate(stage)
    assert details["error"]["code"] == "check-attempts-failed"
    assert details["error"]["details"]["attempts_count"] == 1
    assert (stage.outcome.attempts, stage.orders) == (0, [])
    assert await ordered(stage) == [TOGETHER]
    assert await validates(stage) == {1: (RunStatus.FAILED, 1)}
    assert numbers(stage) == [1]


async def test_a_session_without_a_login_is_not_checked_again_before_it_has_one(play_login: Any) -> None:
    stage = await play_login("first-check-without-a-login")
    assert_completed(stage.outcome)
    assert numbers(stage) == [1, 2]
    new = stage.checked[1].auth
    assert new
    assert new.state
    assert new.state.login == 1
    assert len(stage.created) == 1
    assert await validates(stage) == {1: (RunStatus.COMPLETED, 2)}
    assert logins(stage) == [1]


async def test_a_session_that_is_gone_is_not_made_anew(play_login: Any) -> None:
    stage = await play_login("first-check-without-a-session")
    details = assert_not_validated(stage, "deleted")
    assert details["validateRunId"] == first_validate(stage)
    assert (numbers(stage), stage.created, stage.orders) == ([1], [], [])
    assert await validates(stage) == {1: (RunStatus.FAILED, 1)}


async def test_a_first_check_that_cannot_be_called_says_nothing_about_the_login(play_login: Any) -> None:
    stage = await play_login("first-check-cannot-be-called")
    details = assert_not_validated(stage, "has no function `check`")
    assert details["error"]["code"] == "auth-check-failed"
    assert (numbers(stage), stage.created, stage.orders) == ([1], [], [])
    assert await validates(stage) == {1: (RunStatus.FAILED, 1)}
    assert await stage.status() is AuthSessionStatus.READY


# A worker that is lost.


async def test_a_check_that_was_lost_is_made_again_and_does_not_count_for_the_run(play_login: Any) -> None:
    stage = await play_login("lost-in-the-first-check")
    assert_completed(stage.outcome)
    assert (await ordered(stage), logins(stage)) == ([TOGETHER, ALONE], [1])
    assert await ordered(stage, first_validate(stage)) == [LOST, names.CHECK]
    assert await validates(stage) == {1: (RunStatus.COMPLETED, 2)}
    assert lost(stage) == [the_check(stage)]
    (check,) = [
        each for each in scheduled(await stage.events(first_validate(stage))) if each.retry_policy.maximum_attempts
    ]
    assert check.retry_policy.maximum_attempts == 2, "what was lost says nothing about the login"


async def test_nor_does_one_that_was_announced_and_of_which_nobody_has_said_that_it_was_good(play_login: Any) -> None:
    stage = await play_login("lost-in-the-first-check-after-a-moment")
    assert_completed(stage.outcome)
    assert (await ordered(stage), logins(stage)) == ([TOGETHER, ALONE], [1])
    assert await validates(stage) == {1: (RunStatus.COMPLETED, 2)}
    assert lost(stage) == [the_check(stage)]


async def test_an_attempt_that_was_lost_after_its_check_is_made_again_after_another(play_login: Any) -> None:
    stage = await play_login("lost-in-the-attempt-after-its-check")
    assert_completed(stage.outcome, attempts=2)
    assert await ordered(stage) == [TOGETHER, LOST, TOGETHER]
    assert lost(stage) == [the_check(stage), the_attempt(stage)], "what its worker has not told, too"
    assert await validates(stage) == {1: (RunStatus.COMPLETED, 2), 2: (RunStatus.COMPLETED, 1)}
    assert logins(stage) == [1, 1]


async def test_an_attempt_that_was_lost_is_one_whatever_comes_of_a_further_check(play_login: Any) -> None:
    stage = await play_login("lost-in-the-attempt-and-the-login-is-bad")
    details = assert_not_validated(stage, "not true")
    assert details["validateRunId"] == names.validate_run_id(stage.run_id, 2)
    assert (stage.outcome.attempts, len(stage.orders)) == (1, 1)
    assert lost(stage) == [the_check(stage), the_attempt(stage)]


async def test_so_is_one_that_had_said_where_it_is(play_login: Any) -> None:
    stage = await play_login("lost-in-an-attempt-that-was-announced")
    assert_crashed(stage.outcome)
    assert await validates(stage) == {1: (RunStatus.FAILED, 3)}
    assert lost(stage) == [the_check(stage), the_attempt(stage)]
    assert len(stage.orders) == 1


async def test_an_attempt_that_is_heard_of_no_more_is_lost_if_its_check_was_said_to_be_good(play_login: Any) -> None:
    stage = await play_login("lost-in-the-attempt-after-a-moment")
    assert_completed(stage.outcome, attempts=2)
    assert await ordered(stage) == [TOGETHER, LOST, TOGETHER]
    assert lost(stage) == [the_attempt(stage)]
    assert await validates(stage) == {1: (RunStatus.COMPLETED, 1), 2: (RunStatus.COMPLETED, 1)}
    assert await ordered(stage, first_validate(stage)) == []


async def test_if_nobody_knows_which_of_the_two_was_lost_it_may_have_been_the_attempt(play_login: Any) -> None:
    stage = await play_login("lost-in-one-of-the-two")
    assert_completed(stage.outcome, attempts=2)
    assert await ordered(stage) == [TOGETHER, LOST, TOGETHER]
    assert lost(stage) == [the_check(stage), the_attempt(stage)]
    assert await validates(stage) == {1: (RunStatus.COMPLETED, 2), 2: (RunStatus.COMPLETED, 1)}
    assert [order.number for order in stage.orders] == [2]


async def test_and_a_run_that_executes_its_attempt_at_most_once_fails(play_login: Any) -> None:
    stage = await play_login("lost-in-one-of-the-two-at-most-once")
    assert_crashed(stage.outcome)
    assert await ordered(stage) == [TOGETHER, LOST]
    assert lost(stage) == [the_check(stage), the_attempt(stage)]
    assert stage.orders == []


async def test_if_its_worker_had_started_the_validate_it_was_the_attempt(play_login: Any) -> None:
    stage = await play_login("lost-when-it-had-started-the-validate")
    assert_completed(stage.outcome, attempts=2)
    assert (await ordered(stage), await children(stage)) == ([TOGETHER, LOST, TOGETHER], [])
    assert lost(stage) == [the_attempt(stage)]
    assert await validates(stage) == {1: (RunStatus.COMPLETED, 1), 2: (RunStatus.COMPLETED, 1)}
    assert await ordered(stage, first_validate(stage)) == []


async def test_a_check_that_was_lost_as_its_run_was_canceled_is_not_made_again(play_login: Any) -> None:
    stage = await play_login("lost-in-the-first-check-as-it-is-canceled")
    assert_canceled(stage.outcome)
    assert (stage.outcome.attempts, stage.orders, numbers(stage)) == (0, [], [1])
    assert await validates(stage) == {1: (RunStatus.CANCELED, 1)}
    assert lost(stage) == [the_check(stage)]


# A cancel.


async def test_a_cancel_before_the_first_check_leaves_no_validate(play_login: Any) -> None:
    stage = await play_login("canceled-before-the-first-check")
    assert_canceled(stage.outcome)
    assert (stage.outcome.attempts, stage.together, stage.stops) == (0, [], [])
    assert await validates(stage) == {}


async def test_a_cancel_reaches_a_check_that_has_not_said_where_it_is(play_login: Any) -> None:
    stage = await play_login("canceled-in-the-first-check")
    assert_canceled(stage.outcome)
    assert (stage.outcome.attempts, stage.orders, stage.stops) == (0, [], [])
    assert await validates(stage) == {1: (RunStatus.CANCELED, 1)}
    assert await stage.status() is AuthSessionStatus.READY


async def test_a_cancel_during_a_check_stops_it_at_once_and_cancels_its_validate(play_login: Any) -> None:
    stage = await play_login("canceled-in-the-first-check-after-a-moment")
    assert_canceled(stage.outcome)
    assert (stage.outcome.attempts, stage.orders) == (0, [])
    assert stage.stops == [StopInput(run_id=stage.run_id, number=1)]
    assert_canceled(await stage.outcome_of(first_validate(stage)))
    assert (numbers(stage), stage.created, stage.lost) == ([1], [], [])
    assert await stage.status() is AuthSessionStatus.READY


async def test_after_a_check_that_is_bad_as_its_run_is_canceled_nothing_is_made_anew(play_login: Any) -> None:
    stage = await play_login("canceled-as-its-first-check-is-bad")
    assert_canceled(stage.outcome)
    assert (stage.outcome.attempts, stage.orders) == (0, [])
    assert (numbers(stage), stage.created, stage.lost) == ([1], [], [])
    assert await validates(stage) == {1: (RunStatus.CANCELED, 1)}


async def test_a_cancel_during_the_attempt_leaves_its_validate_completed(play_login: Any) -> None:
    stage = await play_login("canceled-in-the-attempt-after-its-check")
    assert_canceled(stage.outcome)
    assert (stage.outcome.attempts, len(stage.orders)) == (1, 1)
    assert stage.stops == [StopInput(run_id=stage.run_id, number=1)]
    assert await validates(stage) == {1: (RunStatus.COMPLETED, 1)}


async def test_so_does_one_after_a_check_that_was_announced(login_stage: LoginStage) -> None:
    check, attempt = Held(login_stage, announced=True), Held(login_stage, announced=True)

    async def stop(_order: StopInput) -> bool:
        attempt.end(AttemptOutcome(status=AttemptStatus.CANCELED, started_at=AT))
        return True

    login_stage.on_stop = stop
    await begin_announced(login_stage, check, attempt)
    check.end(good())
    await attempt.began.wait()
    await login_stage.cancel()
    login_stage.outcome = await login_stage.ended()
    assert_canceled(login_stage.outcome)
    assert login_stage.outcome.attempts == 1
    assert login_stage.stops == [StopInput(run_id=login_stage.run_id, number=1)]
    assert await validates(login_stage) == {1: (RunStatus.COMPLETED, 1)}


async def test_a_cancel_of_the_validate_stops_the_check_where_it_is_made(play_login: Any) -> None:
    stage = await play_login("validate-canceled-in-its-first-check")
    details = assert_not_validated(stage, "canceled by request")
    assert details == {"validateRunId": first_validate(stage)}
    assert (stage.outcome.attempts, stage.orders) == (0, [])
    assert stage.stops == [StopInput(run_id=first_validate(stage), number=1)]
    assert_canceled(await stage.outcome_of(first_validate(stage)))
    assert numbers(stage) == [1]


async def test_a_check_that_is_good_before_it_can_be_stopped_stands(play_login: Any) -> None:
    stage = await play_login("validate-canceled-as-its-first-check-is-good")
    assert_completed(stage.outcome)
    assert stage.stops == [StopInput(run_id=first_validate(stage), number=1)]
    assert await validates(stage) == {1: (RunStatus.COMPLETED, 1)}
    assert logins(stage) == [1]


async def test_a_validate_whose_run_was_terminated_stops_its_check_and_does_not_wait_for_ever(
    login_stage: LoginStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validate, "_TOLD_WITHIN", timedelta(milliseconds=200))
    login_stage.workflow_options["workflow_runner"] = UnsandboxedWorkflowRunner()
    check = Held(login_stage, announced=True)
    stops(login_stage, check)
    await begin_announced(login_stage, check)
    await login_stage.handle.terminate()
    assert_canceled(await login_stage.outcome_of(first_validate(login_stage)))
    assert login_stage.stops == [StopInput(run_id=first_validate(login_stage), number=1)]
    assert (numbers(login_stage), login_stage.orders) == ([1], [])


async def test_a_validate_that_was_terminated_holds_up_no_attempt_after_a_good_check(play_login: Any) -> None:
    stage = await play_login("validate-terminated-in-a-first-check-that-is-good")
    assert_completed(stage.outcome)
    assert (await ordered(stage), logins(stage)) == ([TOGETHER], [1])


async def test_a_run_whose_validate_was_terminated_makes_no_attempt_after_a_bad_check(play_login: Any) -> None:
    stage = await play_login("validate-terminated-in-a-first-check-that-is-bad")
    assert assert_not_validated(stage, "terminated") == {"validateRunId": first_validate(stage)}
    assert (stage.outcome.attempts, stage.orders) == (0, [])


# What comes late.


@pytest.mark.parametrize(
    ("signal", "note"),
    [
        (names.CHECK_STARTED, CheckStarted(number=1, check=AttemptStarted(number=1, machine="m-1", worker="w-1"))),
        (names.CHECK_GOOD, CheckGood(number=1, check=Tried(status=AttemptStatus.COMPLETED, number=1, login=FIRST))),
    ],
    ids=["started", "good"],
)
async def test_word_of_a_check_that_is_over_is_not_taken_for_that_of_the_next(
    login_stage: LoginStage, signal: str, note: Any
) -> None:
    check = Held(login_stage)
    login_stage.checks.extend([ends(good()), check])
    await login_stage.serve(ends(failed()), ends(completed()))
    await login_stage.bring_up()
    await login_stage.start(auth=login_stage.auth(check_with_attempt=True))
    await check.began.wait()
    await login_stage.handle.signal(signal, note)
    await login_stage.until("WORKFLOW_TASK_COMPLETED", 3)
    assert await children(login_stage) == []
    check.end(good())
    login_stage.outcome = await login_stage.ended()
    assert_completed(login_stage.outcome, attempts=2)
    assert await children(login_stage) == []
    assert await validates(login_stage) == {1: (RunStatus.COMPLETED, 1), 2: (RunStatus.COMPLETED, 1)}


# An AuthSession for this Run alone.


async def test_an_auth_session_for_one_run_is_made_when_the_first_check_has_found_none(play_login: Any) -> None:
    stage = await play_login("first-check-in-a-runtime-session")
    assert_completed(stage.outcome)
    (create,) = stage.created
    assert create.parent_run_id == first_validate(stage)
    assert create.auth
    assert (create.auth.login, create.auth.parameters_key) == (1, FIRST.parameters_key)
    assert await ordered(stage) == [TOGETHER, ALONE]
    assert (numbers(stage), logins(stage)) == ([1, 2], [1])
    assert await validates(stage) == {1: (RunStatus.COMPLETED, 2)}
