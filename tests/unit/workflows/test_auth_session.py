"""Workflow `AuthSession`: its status at every moment, one Create for all who ask, and which states it keeps."""

import asyncio
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowExecutionStatus

from callboard.schemas.workflow import names
from callboard.schemas.workflow.attempt import AttemptInput, AttemptOutcome
from callboard.schemas.workflow.auth import (
    AuthSessionStatus,
    CheckReport,
    DeleteStatesInput,
    Imported,
    LoginState,
    SavedBack,
)
from callboard.schemas.workflow.run import RunStatus
from tests.support.auth_stage import FIRST, ID, START_URL, LoginStage, good, made_by, not_made
from tests.support.present import present
from tests.support.run_stage import completed, ends
from tests.support.shapes import shapes_of
from tests.support.stage import WORKSPACE
from tests.support.temporal_servers import LONG_HISTORY
from workflows import visibility

EVERYTHING = ()
"""The keys that are named when all is to be removed."""


# Status.


async def test_it_is_pending_until_it_is_made_then_ready(login_stage: LoginStage):
    held = login_stage.hold(login_stage.creates)
    await login_stage.bring_up(input := login_stage.login_spec("create", check_attempts=0))
    assert await login_stage.status() is AuthSessionStatus.PENDING, "before any worker has come"
    await login_stage.serve()
    await held.began.wait()
    view = await login_stage.view()
    assert (view.status, view.pending_run_id, view.login) == (AuthSessionStatus.PENDING, input.run_id, None)
    held.end(good(made_by(login_stage.created[0])))
    view = await login_stage.until_view(lambda view: view.status is AuthSessionStatus.READY)
    assert (view.pending_run_id, view.login) == (
        None,
        LoginState(login_version=1, key="state-1", parameters_key="parameters-create"),
    )


async def test_it_is_pending_while_it_is_made_anew_and_expired_if_that_fails(login_stage: LoginStage):
    held = login_stage.hold(login_stage.creates)
    await login_stage.open()
    await login_stage.validate()
    await held.began.wait()
    view = await login_stage.view()
    assert (view.status, view.login) == (AuthSessionStatus.PENDING, FIRST)
    await login_stage.session.signal(names.CHECKED, CheckReport(login_version=1, good=False))
    await login_stage.session.signal(names.CHECKED, CheckReport(login_version=1, good=True))
    await login_stage.until("WORKFLOW_EXECUTION_SIGNALED", 3, of=login_stage.session.id)
    held.end(not_made(final=True))
    await login_stage.validated()
    assert await login_stage.status() is AuthSessionStatus.EXPIRED


async def test_it_is_pending_while_it_is_updated(login_stage: LoginStage):
    held = login_stage.hold(login_stage.creates)
    await login_stage.open()
    input = await login_stage.update("update")
    await held.began.wait()
    view = await login_stage.view()
    assert (view.status, view.pending_run_id, view.login) == (AuthSessionStatus.PENDING, input.run_id, FIRST)
    held.end(not_made(final=True))
    await login_stage.until_status(AuthSessionStatus.READY)


async def test_what_a_check_says_counts_if_it_was_of_the_current_login(login_stage: LoginStage):
    await login_stage.open(login_version=2, state_key="state-2")

    state = "state-2"

    async def told(note: CheckReport) -> AuthSessionStatus:
        nonlocal state
        await login_stage.session.signal(names.CHECKED, note)
        # What comes after it, and can be seen.
        before, state = state, f"{state}+"
        await login_stage.session.signal(names.SAVED_BACK, SavedBack(before=before, after=state))
        return (await login_stage.until_view(lambda view: view.state_key == state)).status

    assert await told(CheckReport(login_version=1, good=False)) is AuthSessionStatus.READY
    assert await told(CheckReport(login_version=2, good=False)) is AuthSessionStatus.EXPIRED
    assert await told(CheckReport(login_version=1, good=True)) is AuthSessionStatus.EXPIRED
    assert await told(CheckReport(login_version=2, good=True)) is AuthSessionStatus.READY


# One Create for all.


async def test_twenty_runs_that_find_the_login_expired_have_it_made_anew_once(login_stage: LoginStage):
    run_ids = [f"{login_stage.run_id}-{number}" for number in range(20)]
    login_stage.workflow_options = {}  # twenty Runs, and what they wait for, need not replay at every step
    await login_stage.bring_up()
    for run_id in run_ids:
        await login_stage.start(run_id, auth=login_stage.auth())
    await login_stage.serve(*[ends(completed())])
    outcomes = await asyncio.gather(*(login_stage.outcome_of(run_id) for run_id in run_ids))
    assert [outcome.status for outcome in outcomes] == [RunStatus.COMPLETED] * 20
    assert len(login_stage.created) == 1
    assert {
        input.auth.initial_login.login_version
        for input in login_stage.inputs
        if input.auth and input.auth.initial_login
    } == {2}
    view = await login_stage.view()
    assert (view.status, view.login_version) == (AuthSessionStatus.READY, 2)


async def test_a_run_that_is_canceled_does_not_take_the_login_from_another(login_stage: LoginStage):
    held = login_stage.hold(login_stage.creates)
    await login_stage.serve(ends(completed()))
    await login_stage.bring_up()
    await login_stage.start(auth=login_stage.auth())
    await held.began.wait()
    await login_stage.start(other := f"{login_stage.run_id}-2", auth=login_stage.auth())
    await login_stage.until("WORKFLOW_EXECUTION_SIGNALED", 2, of=login_stage.session.id)
    await login_stage.cancel()
    outcome = await login_stage.ended()
    assert (outcome.status, outcome.attempts) == (RunStatus.CANCELED, 0)
    held.end(await login_stage.make(login_stage.created[0]))
    assert (await login_stage.outcome_of(other)).status is RunStatus.COMPLETED
    assert len(login_stage.created) == 1


async def test_no_person_is_asked_any_more_for_a_login_that_nobody_waits_for(login_stage: LoginStage):
    login_stage.recorder()
    held = login_stage.hold(login_stage.creates, stops=True)
    await login_stage.open(start_url=START_URL)
    ids = [f"{login_stage.validate_id}-{number}" for number in range(2)]
    for run_id in ids:
        await login_stage.validate(run_id)
    await held.began.wait()
    await login_stage.until("WORKFLOW_EXECUTION_SIGNALED", 2, of=login_stage.session.id)
    for number, run_id in enumerate(ids):
        assert await login_stage.status() is AuthSessionStatus.PENDING, "another one waits for it"
        await login_stage.client.get_workflow_handle(run_id).cancel()
        assert (await login_stage.outcome_of(run_id)).status is RunStatus.CANCELED
        await login_stage.until("WORKFLOW_EXECUTION_SIGNALED", 3 + number, of=login_stage.session.id)
    assert (await login_stage.outcome_of((await login_stage.creates_begun())[0])).status is RunStatus.CANCELED
    await login_stage.until_status(AuthSessionStatus.EXPIRED)
    await login_stage.validate()
    assert (await login_stage.validated()).status is RunStatus.COMPLETED
    assert len(login_stage.created) == 2


async def test_a_failed_create_answers_all_and_the_next_who_asks_has_another(login_stage: LoginStage):
    held = login_stage.hold(login_stage.creates)
    await login_stage.open()
    ids = [f"{login_stage.validate_id}-{number}" for number in range(2)]
    for run_id in ids:
        await login_stage.validate(run_id)
    await held.began.wait()
    await login_stage.until("WORKFLOW_EXECUTION_SIGNALED", 2, of=login_stage.session.id)
    held.end(not_made(final=True))
    assert [(await login_stage.outcome_of(run_id)).status for run_id in ids] == [RunStatus.FAILED] * 2
    assert len(login_stage.created) == 1
    await login_stage.validate()
    assert (await login_stage.validated()).status is RunStatus.COMPLETED
    assert len(login_stage.created) == 2


# States.


async def test_a_state_that_was_saved_back_is_the_current_one_unless_another_is(login_stage: LoginStage):
    await login_stage.open()
    for before, after in (("state-1", "newer"), ("state-1", "too-late"), ("newer", "newest")):
        await login_stage.session.signal(names.SAVED_BACK, SavedBack(before=before, after=after))
    view = await login_stage.until_view(lambda view: view.state_key == "newest")
    assert (view.login_version, view.status, view.parameters_key) == (1, AuthSessionStatus.READY, "parameters-1")


async def test_of_outdated_states_only_the_last_ones_are_kept(play_login: Any):
    stage = await play_login("states-saved-back")
    (forgotten,) = stage.forgotten
    assert forgotten.keys == ("state-1", *[f"state-1-{number}" for number in range(1, 13)])
    assert (await stage.view()).state_key == "state-1-16"


async def test_a_state_that_a_create_came_to_in_its_check_is_kept(login_stage: LoginStage):
    """The AuthSession hears of it before it hears of the Create's end."""
    saved = LoginState(login_version=2, key="saved-back", parameters_key="parameters-1")

    async def saves_back(input: AttemptInput) -> AttemptOutcome:
        assert input.auth
        assert input.auth.initial_login
        note = SavedBack(before=input.auth.initial_login.key, after=saved.key)
        await login_stage.session.signal(names.SAVED_BACK, note)
        return good(saved)

    login_stage.checks.append(saves_back)
    await login_stage.open()
    await login_stage.update("update")
    await login_stage.until_view(lambda view: view.state_key == saved.key)
    for number in range(20):
        note = SavedBack(before="another", after=f"too-late-{number}")
        await login_stage.session.signal(names.SAVED_BACK, note)
    await login_stage.until_forgotten()
    removed = {key for input in login_stage.forgotten for key in input.keys}
    assert "too-late-1" in removed
    assert removed.isdisjoint({saved.key, "parameters-update"})


async def test_one_of_the_recorder_takes_what_was_recorded_anew(play_login: Any):
    stage = await play_login("recorded-anew")
    view = await stage.view()
    assert (view.status, view.state_key, view.parameters_key) == (AuthSessionStatus.READY, "state-2", None)


async def test_one_that_has_parameters_takes_no_recording(login_stage: LoginStage):
    await login_stage.open()
    await login_stage.session.signal(names.IMPORTED, Imported(key="recorded"))
    await login_stage.session.signal(names.SAVED_BACK, SavedBack(before="state-1", after="newer"))
    assert (await login_stage.until_view(lambda view: view.state_key != "state-1")).state_key == "newer"


# A fresh history.


async def test_it_continues_as_it_was_and_can_be_found_as_before(play_login: Any):
    stage = await play_login("session-continued")
    description = await stage.session.describe()
    begun = (await stage.events(stage.session.id))[0].workflow_execution_started_event_attributes
    before = stage.client.get_workflow_handle(stage.session.id, run_id=begun.first_execution_run_id)
    assert (await before.describe()).status is WorkflowExecutionStatus.CONTINUED_AS_NEW
    assert description.typed_search_attributes[visibility.PROJECT] == stage.project
    assert description.typed_search_attributes[visibility.AUTH_SESSION] == ID
    assert await description.static_summary() == await (await before.describe()).static_summary()
    memo = await description.memo()
    assert memo[names.MEMO_WORKSPACE] == WORKSPACE
    told = memo[names.MEMO_VIEW]
    assert (told["status"], told["login_version"], told["state_key"]) == ("EXPIRED", 1, "state-1-1")
    assert stage.forgotten == [DeleteStatesInput(project=stage.project, owner=ID, keys=EVERYTHING)]


async def test_nothing_that_it_was_told_meanwhile_is_lost(login_stage: LoginStage):
    """Told while it continues, again and again: every note is taken up, and every question answered."""
    rounds = 3 * LONG_HISTORY
    await login_stage.open()
    await login_stage.validate()
    for number in range(rounds):
        before = "state-2" if number == 0 else f"newer-{number}"
        if number == 0:
            assert (await login_stage.validated()).status is RunStatus.COMPLETED
        await login_stage.session.signal(names.SAVED_BACK, SavedBack(before=before, after=f"newer-{number + 1}"))
    await login_stage.until_view(lambda view: view.state_key == f"newer-{rounds}")
    await login_stage.until_continued()
    await login_stage.delete()
    await login_stage.closed()
    removed = [key for input in login_stage.forgotten for key in input.keys]
    assert len(removed) == len(set(removed))
    assert removed == ["state-1", "state-2", *[f"newer-{number}" for number in range(1, len(removed) - 1)]]


async def test_all_who_ask_for_a_new_login_while_it_is_made_have_the_same_answer(play_login: Any):
    stage = await play_login("two-validates-that-share-one-create")
    other = await stage.outcome_of(f"{stage.validate_id}-other")
    assert len(await stage.creates_begun()) == 1
    assert (present(stage.outcome.login).login_version, other.login) == (2, stage.outcome.login)


def test_every_login_shape_is_known_by_a_test():
    text = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert [shape for shape in shapes_of(LoginStage) if f'"{shape}"' not in text] == []
