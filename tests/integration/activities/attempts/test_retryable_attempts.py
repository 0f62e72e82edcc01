"""Activities `check` and `create`, and an Attempt that has a login: what a Machine is told, and what is left."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities import attempt_activities
from activities.attempts import attempt_artifacts
from callboard.machines.attempt_spec import masker_for
from callboard.projects.deploy import deploy
from callboard.schemas.errors import BadRequest, StoreError
from callboard.schemas.workflow.attempt import (
    ATTEMPT_FAILED,
    INTERRUPTED,
    NO_LOGIN,
    AttemptKind,
    AttemptOutcome,
    AttemptRecord,
    AttemptStatus,
    FailedAttemptDetails,
)
from callboard.schemas.workflow.auth import AttemptAuth, AuthSessionType, LoginState
from callboard.schemas.workflow.base import JsonRef
from callboard.schemas.workflow.run import ErrorCode, RunError
from callboard.schemas.workflow.trace import TraceMode
from callboard.security import seal_context
from callboard.storage import object_keys
from callboard.storage.folder import FolderStore
from tests.support.attempt_worker import AttemptWorker, ScriptedPool, attempt_input, open_bench
from tests.support.auth_stage import ID, PARAMETERS, PASSWORD, SESSION, LoginStage, browser_state
from tests.support.polling import until
from tests.support.present import assert_has, present
from tests.support.stage import WORKSPACE

FUNCTION = "async def {}(page, params=None, **_kwargs):\n    return True\n"
FILES = {
    "api/list.py": FUNCTION.format("automation"),
    "auth-sessions/check.py": FUNCTION.format("check"),
    "auth-sessions/create.py": FUNCTION.format("create"),
}
START = json.dumps({"startUrl": "https://shop.test/login"})
ENDED = {"status": "completed", "reason": None}
RAISED = RunError(code=ErrorCode.SCRIPT_EXECUTION_EXCEPTION, category="user", message="no such element")


class Scene:
    """One Attempt of a project that logs in; the AuthSession is there, with its first login."""

    def __init__(
        self, client: Client, bench: AttemptWorker, pool: ScriptedPool, stage: LoginStage, version: str
    ) -> None:
        self.bench = bench
        self.pool = pool
        self.stage = stage
        self.temporal = ActivityEnvironment(client=client)
        self.state = LoginState(
            login_version=1,
            key=object_keys.auth_session_state(stage.project, ID, "first"),
            parameters_key=object_keys.auth_session_parameters(stage.project, ID, "first"),
        )
        self.input = attempt_input("run-1", workspace=WORKSPACE, project=stage.project, version=version)

    async def attempt(self, kind: AttemptKind, *, attempt: int = 1, number: int = 1, **auth: Any) -> AttemptOutcome:
        to_make: dict[str, Any] = {"new_login_version": 2, "parameters_key": self.state.parameters_key}
        given: dict[AttemptKind, dict[str, Any]] = {
            AttemptKind.API: {"initial_login": self.state},
            AttemptKind.CHECK: {},
            AttemptKind.CREATE: to_make,
            AttemptKind.RECORD: {**to_make, "parameters_key": None},
        }
        fields: dict[str, Any] = {"ref": self.stage.ref, **given[kind], **auth}
        login = AttemptAuth(**fields)
        input = self.input.model_copy(update={"kind": kind, "auth": login, "number": number})
        if kind is AttemptKind.RECORD:
            parameters = JsonRef(text=START, size=len(START))
            input = input.model_copy(update={"parameters": parameters, "trace": TraceMode.NEVER})
        self.temporal.info = dataclasses.replace(self.temporal.info, attempt=attempt)
        activities = self.bench.attempt
        activity = {
            AttemptKind.CHECK: activities.check,
            AttemptKind.CREATE: activities.create,
            AttemptKind.RECORD: activities.record,
        }.get(kind, activities.attempt)
        return await self.temporal.run(activity, input)

    async def fails(self, kind: AttemptKind, **options: Any) -> tuple[FailedAttemptDetails, bool]:
        """How a check or create failed, and whether no try can help."""
        with pytest.raises(ApplicationError) as caught:
            await self.attempt(kind, **options)
        assert caught.value.type == ATTEMPT_FAILED
        return FailedAttemptDetails.model_validate(caught.value.details[0]), caught.value.non_retryable

    async def record(self, number: int = 1) -> AttemptRecord:
        return present(await self.bench.record(self.stage.project, "run-1", number))

    async def states(self) -> list[str]:
        """The states in the store, but the first one."""
        prefix = object_keys.auth_session(self.stage.project, ID)
        found = [key async for key in self.bench.store.list(prefix) if "/state-" in key and key != self.state.key]
        return [await self._opened(key) for key in found]

    async def _opened(self, key: str) -> str:
        token = present(await FolderStore.get(self.bench.store, key))
        return self.bench.keyring.open(token.decode(), bound_to=self.bound_to)

    @property
    def bound_to(self) -> str:
        return seal_context.auth_session(WORKSPACE, self.stage.project, ID)

    async def keep(self) -> None:
        keyring = self.bench.keyring
        for key, text in ((self.state.key, browser_state()), (self.state.parameters_key, PARAMETERS)):
            assert key
            await self.bench.store.put(key, keyring.seal(text, bound_to=self.bound_to).encode())


@pytest.fixture
async def scene(name: str, client: Client, tmp_path: Path) -> AsyncGenerator[Scene]:
    pool = ScriptedPool()
    settings = {"projectName": name, "authSessions": {"enabled": True, "type": "API", "secretParameters": ["username"]}}
    for path, text in {**FILES, "Intuned.json": json.dumps(settings)}.items():
        file = tmp_path / "project" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    async with open_bench(tmp_path, client, "scripted", pool) as bench, LoginStage(client, name) as stage:
        version = (await deploy(tmp_path / "project", bench.store)).version
        scene = Scene(client, bench, pool, stage, version)
        await scene.keep()
        await stage.bring_up(state_key=scene.state.key, parameters_key=scene.state.parameters_key)
        yield scene
        assert list(bench.running_attempts) == []
        assert bench.notes() == []


# Which try it is.


async def test_a_try_after_a_reset_takes_a_number_that_no_other_has(scene: Scene) -> None:
    """Temporal counts its tries anew then; it shows by when the try was scheduled."""
    scene.pool.report = {"result": "false"}
    await scene.fails(AttemptKind.CHECK)
    await scene.fails(AttemptKind.CHECK, attempt=2)
    scene.pool.report = {"result": "true"}
    first = await scene.record(1)
    later = scene.temporal.info.scheduled_time + timedelta(seconds=1)
    scene.temporal.info = dataclasses.replace(scene.temporal.info, current_attempt_scheduled_time=later)
    outcome = await scene.attempt(AttemptKind.CHECK)
    assert outcome.number == 3
    assert (await scene.record(3)).status is AttemptStatus.COMPLETED
    assert await scene.record(1) == first


async def test_a_store_that_cannot_tell_which_numbers_are_taken_holds_up_no_try(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_key: str) -> bool:
        raise StoreError("The store is away.")

    monkeypatch.setattr(attempt_artifacts, "_EXISTS_TIMEOUT", timedelta())
    monkeypatch.setattr(scene.bench.store, "exists", away)
    later = scene.temporal.info.scheduled_time + timedelta(seconds=1)
    scene.temporal.info = dataclasses.replace(scene.temporal.info, current_attempt_scheduled_time=later)
    assert (await scene.attempt(AttemptKind.CHECK)).number == 1


# A check.


async def test_a_check_has_the_current_login_restored_and_saves_what_was_rotated(scene: Scene) -> None:
    scene.pool.report = {"result": "true", "storage_state": browser_state("rotated")}
    outcome = await scene.attempt(AttemptKind.CHECK, number=4)
    assert (outcome.status, outcome.result, outcome.number) == (AttemptStatus.COMPLETED, None, 4)
    assert present(outcome.login).key != scene.state.key
    assert await scene.states() == [browser_state("rotated")]
    (spec,) = scene.pool.specs
    assert (spec.kind, spec.number, spec.capture) == (AttemptKind.CHECK, 4, True)
    assert spec.storage_state == browser_state()
    assert masker_for(spec).secrets == {SESSION, PASSWORD}
    record = await scene.record(4)
    assert (record.kind, record.status) == ("check", AttemptStatus.COMPLETED)


async def test_what_the_site_has_set_is_masked_in_the_log_too(scene: Scene) -> None:
    scene.pool.report = {"result": "true", "storage_state": browser_state("what-the-site-has-set")}
    scene.pool.line = "it is what-the-site-has-set"
    await scene.attempt(AttemptKind.CHECK)
    log = present(await FolderStore.get(scene.bench.store, object_keys.log(scene.stage.project, "run-1", 1)))
    assert b"it is ***" in log


async def test_a_check_that_lasts_tells_the_run_that_waits_for_it_that_it_began(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt_activities, "SIGNAL_AFTER", 0)
    await scene.stage.start()
    scene.input = scene.input.model_copy(update={"parent_run_id": scene.stage.run_id})
    scene.pool.go_on.clear()
    check = asyncio.create_task(scene.attempt(AttemptKind.CHECK))
    await scene.stage.until("WORKFLOW_EXECUTION_SIGNALED")
    scene.pool.go_on.set()
    await check
    await scene.stage.handle.terminate()


@pytest.mark.parametrize(
    ("report", "code", "final"),
    [
        ({"result": "false", "storage_state": browser_state("rotated")}, ErrorCode.AUTH_CHECK_FAILED, False),
        ({"error": RAISED}, ErrorCode.SCRIPT_EXECUTION_EXCEPTION, False),
        ({"error": RAISED, "final": True}, ErrorCode.SCRIPT_EXECUTION_EXCEPTION, True),
    ],
    ids=["falsy", "raised", "structural"],
)
async def test_a_check_that_is_not_content_says_with_which_login(
    scene: Scene, report: dict[str, Any], code: ErrorCode, final: bool
) -> None:
    scene.pool.report = report
    failed, is_final = await scene.fails(AttemptKind.CHECK, number=2)
    assert (failed.number, failed.login_version, failed.error.code, is_final) == (2, 1, code, final)
    record = await scene.record(2)
    assert (record.status, record.error) == (AttemptStatus.FAILED, failed.error)
    assert await scene.states() == [], "nothing is saved back by an Attempt that failed"


async def test_a_check_that_could_not_begin_says_nothing_about_a_login(scene: Scene) -> None:
    await scene.bench.store.put(scene.state.key, b"cb1.nobody")
    failed, final = await scene.fails(AttemptKind.CHECK)
    assert (failed.login_version, failed.error.code, final) == (None, ErrorCode.INTERNAL_SERVER_ERROR, False)
    assert "could not begin" in failed.error.message


async def test_each_try_has_a_number_and_a_record_of_its_own(scene: Scene) -> None:
    outcome = await scene.attempt(AttemptKind.CHECK, number=4, attempt=3)
    assert (outcome.number, scene.pool.specs[0].number) == (6, 6)
    lost, now = await scene.record(5), await scene.record(6)
    assert (lost.status, now.status) == (AttemptStatus.INTERRUPTED, AttemptStatus.COMPLETED), (
        "the one before has left no record: its worker was lost"
    )


async def test_does_not_repeat_a_completed_try_that_temporal_never_heard_of(scene: Scene) -> None:
    found = await scene.attempt(AttemptKind.CHECK)
    assert await scene.attempt(AttemptKind.CHECK, attempt=2) == found
    assert (found.number, len(scene.pool.executed)) == (1, 1)


async def test_a_check_that_finds_nothing_to_check_leaves_a_record(scene: Scene) -> None:
    await scene.bench.store.delete(scene.state.key)
    with pytest.raises(ApplicationError) as caught:
        await scene.attempt(AttemptKind.CHECK, number=2)
    assert (caught.value.type, caught.value.details) == (NO_LOGIN, (1, 2))
    record = await scene.record(2)
    assert (record.status, present(record.error).code) == (AttemptStatus.FAILED, ErrorCode.AUTH_CHECK_FAILED)
    assert scene.pool.executed == []


async def test_a_defect_of_ours_leaves_a_record(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    async def defect(*_args: object) -> None:
        raise ValueError("a defect")

    monkeypatch.setattr(scene.pool, "run_attempt", defect)
    with pytest.raises(ValueError, match="a defect"):
        await scene.attempt(AttemptKind.CHECK)
    record = await scene.record()
    assert (record.status, present(record.error).code) == (AttemptStatus.FAILED, ErrorCode.INTERNAL_SERVER_ERROR)


async def test_a_check_that_its_worker_gives_up_is_tried_again(scene: Scene) -> None:
    scene.pool.go_on.clear()
    check = asyncio.create_task(scene.attempt(AttemptKind.CHECK))
    await until(lambda: scene.pool.executed)
    scene.bench.running_attempts.interrupt_all("The worker was stopped before the Attempt ended.")
    with pytest.raises(ApplicationError) as caught:
        await check
    assert (caught.value.type, caught.value.non_retryable) == (INTERRUPTED, False)


# A create.


async def test_a_create_is_given_its_parameters_and_what_it_leaves_is_kept(scene: Scene) -> None:
    scene.pool.report = {"result": "null", "storage_state": browser_state("made")}
    outcome = await scene.attempt(AttemptKind.CREATE)
    assert (outcome.status, outcome.number) == (AttemptStatus.COMPLETED, 1)
    assert_has(outcome.login, login_version=2, parameters_key=scene.state.parameters_key)
    assert await scene.states() == [browser_state("made")]
    (spec,) = scene.pool.specs
    assert_has(spec, kind=AttemptKind.CREATE, parameters=PARAMETERS, storage_state=None, capture=True)
    assert PASSWORD in spec.secrets
    assert (await scene.record()).kind == "create"


async def test_a_create_that_fails_keeps_nothing(scene: Scene) -> None:
    scene.pool.report = {"error": RAISED}
    failed, final = await scene.fails(AttemptKind.CREATE)
    assert (failed.number, failed.login_version, failed.error, final) == (1, None, RAISED, False)
    assert await scene.states() == []


async def test_a_create_without_a_state_has_failed(scene: Scene) -> None:
    scene.pool.report = {"result": "null"}
    failed, _ = await scene.fails(AttemptKind.CREATE)
    assert "could not be captured" in failed.error.message


async def test_a_create_whose_parameters_are_lost_cannot_be_made(scene: Scene) -> None:
    failed, final = await scene.fails(AttemptKind.CREATE, parameters_key="auth-sessions/gone.sealed")
    assert (failed.error.code, final) == (ErrorCode.INTERNAL_SERVER_ERROR, True)
    assert "parameters of the AuthSession are not there any more" in failed.error.message


# A record.


async def test_the_login_that_a_person_has_made_is_kept(scene: Scene) -> None:
    scene.pool.report = {"result": json.dumps(ENDED), "storage_state": browser_state("made")}
    outcome = await scene.attempt(AttemptKind.RECORD)
    assert_has(outcome.login, login_version=2, parameters_key=None)
    assert await scene.states() == [browser_state("made")]
    (spec,) = scene.pool.specs
    assert_has(spec, kind=AttemptKind.RECORD, parameters=START, storage_state=None, variables=())
    assert present(spec.evidence).downloads is False
    assert (await scene.record()).kind == "record"


async def test_whoever_declines_cancels_it(scene: Scene) -> None:
    scene.pool.report = {"result": json.dumps({**ENDED, "status": "declined", "reason": "Not my account."})}
    outcome = await scene.attempt(AttemptKind.RECORD)
    assert (outcome.status, outcome.login) == (AttemptStatus.CANCELED, None)
    assert present(outcome.reason).message == "A person was asked to log in, and has declined: Not my account."


@pytest.mark.parametrize(
    ("end", "code", "message"),
    [
        ({"status": "expired", "reason": None}, ErrorCode.CREATE_ATTEMPTS_FAILED, "handoffs.maxTimeout"),
        ({"status": "failed", "reason": "It is away."}, ErrorCode.CREATE_ATTEMPTS_FAILED, "It is away."),
        (None, RAISED.code, RAISED.message),
    ],
)
async def test_a_record_that_fails_asks_nobody_again(scene: Scene, end: Any, code: ErrorCode, message: str) -> None:
    scene.pool.report = {"error": RAISED} if end is None else {"result": json.dumps(end)}
    failed, final = await scene.fails(AttemptKind.RECORD)
    assert (failed.error.code, message in failed.error.message, final) == (code, True, True)
    record = await scene.record()
    assert (record.screenshot, record.missing) == (False, {})
    assert await scene.states() == []


# An Attempt.


@pytest.mark.parametrize("save_back", [True, False])
async def test_restores_the_login_and_saves_it_back_if_asked_to(scene: Scene, save_back: bool) -> None:
    scene.pool.report = {"result": "[1]", "storage_state": browser_state("rotated")}
    outcome = await scene.attempt(AttemptKind.API, save_back=save_back)
    assert (outcome.status, outcome.result) == (AttemptStatus.COMPLETED, JsonRef(text="[1]", size=3))
    (spec,) = scene.pool.specs
    assert (spec.storage_state, spec.capture) == (browser_state(), save_back)
    assert spec.run_info["auth_session_id"] == ID
    assert await scene.states() == ([browser_state("rotated")] if save_back else [])


async def test_an_attempt_that_fails_or_is_canceled_saves_nothing_back(scene: Scene) -> None:
    scene.pool.report = {"error": RAISED, "storage_state": browser_state("rotated")}
    with pytest.raises(ApplicationError, match="no such element"):
        await scene.attempt(AttemptKind.API)
    scene.pool.go_on.clear()
    attempt = asyncio.create_task(scene.attempt(AttemptKind.API, number=2))
    await until(lambda: len(scene.pool.executed) == 2)
    scene.bench.running_attempts.stop("run-1", 2)
    assert (await attempt).status is AttemptStatus.CANCELED
    assert await scene.states() == []


@pytest.mark.parametrize("kind", AuthSessionType)
async def test_user_code_is_given_the_parameters_of_stored_credentials_only(
    scene: Scene, kind: AuthSessionType
) -> None:
    await scene.attempt(AttemptKind.API, ref=scene.stage.ref.model_copy(update={"type": kind}))
    answer_request = present(scene.pool.executed[0][1].answer_request)
    if kind is AuthSessionType.CREDENTIALS:
        assert await answer_request("auth_session_parameters", {}) == PARAMETERS
    else:
        with pytest.raises(BadRequest, match="get_auth_session_parameters"):
            await answer_request("auth_session_parameters", {})
    assert PASSWORD in scene.pool.specs[0].secrets
