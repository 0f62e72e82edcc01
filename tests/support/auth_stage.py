"""A stage with an AuthSession: its workflows are real, its checks and creates play a script, or what a site does."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle, WorkflowHistory
from temporalio.converter import PayloadCodec
from temporalio.exceptions import ApplicationError

from activities.leases import LeaseActivities
from callboard.schemas.errors import NotFound
from callboard.schemas.workflow import names
from callboard.schemas.workflow.attempt import (
    ATTEMPT_FAILED,
    AUTH_SESSION_GONE,
    NO_LOGIN,
    AttemptInput,
    AttemptOutcome,
    AttemptStatus,
    FailedAttemptDetails,
)
from callboard.schemas.workflow.auth import (
    AuthSessionRef,
    AuthSessionStatus,
    AuthSessionType,
    DeleteStatesInput,
    LoginState,
    RunAuth,
)
from callboard.schemas.workflow.auth_session import AuthSessionInput, AuthSessionView, LoginSpec, ValidateInput
from callboard.schemas.workflow.run import ErrorCode, RunError, RunOutcome, RunType
from callboard.temporal.auth_sessions import AuthSessions
from tests.support.polling import until
from tests.support.run_stage import HeldAttempt, Part, RunStage, outcome_of
from tests.support.stage import DEADLINE, WORKSPACE, keep
from workflows import visibility
from workflows.validate import ValidateWorkflow
from workflows.visibility import auth_run_memo, auth_run_search_attributes

ID = "ada@example.test"
PASSWORD = "correct horse battery staple"
SESSION = "2f1d0c8be4"
PARAMETERS = json.dumps({"username": "ada", "password": PASSWORD, "favourite": "a-blue-one"})
"""The parameters of the AuthSession on the stage."""
START_URL = "https://shop.test/login"
AT = datetime(2026, 1, 2, tzinfo=UTC)
FIRST = LoginState(login_version=1, key="state-1", parameters_key="parameters-1")
"""The login of an AuthSession that exists from the beginning."""


def browser_state(session: str = SESSION) -> str:
    """As a browser leaves it (docs/contract.md, section 4.5)."""
    cookie = {"name": "theme", "value": session, "domain": "shop.test", "path": "/", "expires": -1}
    cookies = [{**cookie, "httpOnly": True, "secure": True, "sameSite": "Lax"}]
    return json.dumps({"cookies": cookies, "origins": [], "sessionStorage": None})


def good(state: LoginState = FIRST) -> AttemptOutcome:
    """A check that is content, or a create that has succeeded."""
    return AttemptOutcome(status=AttemptStatus.COMPLETED, login=state)


def bad(
    state: LoginState | None = FIRST,
    message: str = "what it returned is not true",
    code: ErrorCode = ErrorCode.AUTH_CHECK_FAILED,
    *,
    final: bool = False,
) -> AttemptOutcome:
    """A check that is not content with this login (None: it came to look at none), or a create that has failed."""
    error = RunError(code=code, category="auth", message=message, retirable=True)
    return AttemptOutcome(status=AttemptStatus.FAILED, error=error, final=final, login=state)


def not_made(message: str = "the password is wrong", *, final: bool = False) -> AttemptOutcome:
    """A create that has failed."""
    return bad(None, message, ErrorCode.SCRIPT_EXECUTION_EXCEPTION, final=final)


class Kind(StrEnum):
    """The types of workflows, as the names of histories end."""

    RUN = ".run"
    VALIDATE = ".validate"
    CREATE = ".create"
    SESSION = ".authsession"


class LoginStage(RunStage):
    """A stage whose project logs in."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.ref = AuthSessionRef(id=ID, type=AuthSessionType.CREDENTIALS, owner=ID)
        self.valid: set[int] = set()
        """Logins that the site knows. A create that is not scripted makes one."""
        self.checks: deque[Part] = deque()
        """What the next checks do; afterwards, a check is content with a login that the site knows."""
        self.creates: deque[Part] = deque()
        self.checked: list[AttemptInput] = []
        """Each with the number that it has as a try."""
        self.created: list[AttemptInput] = []
        self.forgotten: list[DeleteStatesInput] = []
        self.on_forget: Callable[[DeleteStatesInput], Awaitable[None]] = _noted

    def as_it_sends(self, text: str, do: Callable[[], Awaitable[None]]) -> None:
        """Do something as soon as a worker that is started from now on is about to send `text`; but once.

        What happens then is heard of by the workflow in the task that comes after.
        """
        config = self.client.config()
        config["data_converter"] = replace(config["data_converter"], payload_codec=_Tripwire(text.encode(), do))
        self.client = Client(**config)

    # The activities.

    def light_activities(self) -> list[Callable[..., Any]]:
        @activity.defn(name=names.DELETE_STATES)
        async def forget_states(input: DeleteStatesInput) -> None:
            self.forgotten.append(input)
            await self.on_forget(input)

        return [forget_states, LeaseActivities(self.client).is_run_over]

    def browser_activities(self) -> list[Callable[..., Any]]:
        @activity.defn(name=names.CHECK)
        async def check(input: AttemptInput) -> AttemptOutcome:
            return await one_try(input, self.checked, self.checks, self._look)

        @activity.defn(name=names.CREATE_LOGIN)
        async def create(input: AttemptInput) -> AttemptOutcome:
            return await one_try(input, self.created, self.creates, self.make)

        @activity.defn(name=names.RECORD_LOGIN)
        async def record(input: AttemptInput) -> AttemptOutcome:
            return await one_try(input, self.created, self.creates, self.make)

        return [check, create, record]

    async def _look(self, input: AttemptInput) -> AttemptOutcome:
        assert input.auth
        state = input.auth.initial_login or (await self._view(input)).login
        if state is None:
            raise ApplicationError("There is no login yet.", 0, input.number, type=NO_LOGIN, non_retryable=True)
        return good(state) if state.login_version in self.valid else bad(state)

    async def make(self, input: AttemptInput) -> AttemptOutcome:
        """What a create comes to that is not scripted: a login that the site knows."""
        assert input.auth
        self.valid.add(input.auth.new_login_version)
        return good(made_by(input))

    async def _view(self, input: AttemptInput) -> AuthSessionView:
        try:
            return await self.view()
        except NotFound as error:
            message = "It was deleted."
            raise ApplicationError(message, input.number, type=AUTH_SESSION_GONE, non_retryable=True) from error

    # The AuthSession.

    @property
    def session(self) -> WorkflowHandle[Any, Any]:
        return self.client.get_workflow_handle(names.auth_session_workflow_id(self.project, self.ref.owner))

    async def bring_up(self, create: LoginSpec | None = None, **view: Any) -> None:
        """Start the AuthSession: with its first login, or with this way to make one."""
        first: dict[str, Any] = {"status": AuthSessionStatus.READY, "login_version": 1, "state_key": FIRST.key}
        first |= {"parameters_key": None if self.ref.type is AuthSessionType.RECORDER else FIRST.parameters_key}
        none: dict[str, Any] = {"status": AuthSessionStatus.PENDING}
        fields: dict[str, Any] = {**(first if create is None else none), **view}
        being = AuthSessionView(id=self.ref.id, type=self.ref.type, created_at=AT, updated_at=AT, **fields)
        await self.client.start_workflow(
            names.AUTH_SESSION,
            AuthSessionInput(workspace=WORKSPACE, project=self.project, ref=self.ref, view=being, create=create),
            id=self.session.id,
            task_queue=self.queue,
            memo={names.MEMO_WORKSPACE: WORKSPACE, names.MEMO_VIEW: being.model_dump(mode="json")},
            search_attributes=visibility.auth_session_search_attributes(self.project, self.ref.id),
        )

    async def open(self, create: LoginSpec | None = None, **view: Any) -> None:
        """Serve workflows, checks and creates, and start the AuthSession."""
        await self.serve()
        await self.bring_up(create, **view)

    def hold(self, script: deque[Part], *, stops: bool = False) -> HeldAttempt:
        """The next check or create of this script lasts until it is told how to end; with `stops`, also to stop."""
        held = HeldAttempt(self, announced=stops)
        script.append(self.stopping(held) if stops else held)
        return held

    def login_spec(self, run_id: str, kind: RunType = RunType.AUTH_SESSION_CREATE, **fields: Any) -> LoginSpec:
        """What a Create or Update logs in with."""
        defaults: dict[str, Any] = {
            "run_id": f"{run_id}-{self.project}",
            "type": kind,
            "version": "0123456789abcdef",
            "parameters_key": f"parameters-{run_id}",
            "create_attempts": 2,
            "check_attempts": 2,
            "request_timeout": timedelta(minutes=10),
        }
        return LoginSpec(**{**defaults, **fields})

    async def update(self, run_id: str, **fields: Any) -> LoginSpec:
        input = self.login_spec(run_id, RunType.AUTH_SESSION_UPDATE, **fields)
        await self.session.signal(names.UPDATE_LOGIN, input)
        return input

    async def delete(self) -> None:
        await self.session.signal(names.DELETE)

    async def view(self) -> AuthSessionView:
        """Raises NotFound."""
        return await AuthSessions(self.client).get(WORKSPACE, self.project, self.ref.owner)

    async def status(self) -> AuthSessionStatus:
        return (await self.view()).status

    async def until_status(self, status: AuthSessionStatus) -> None:
        await self.until_view(lambda view: view.status is status)

    async def until_view(self, true: Callable[[AuthSessionView], bool]) -> AuthSessionView:
        return await until(self.view, DEADLINE, true=true)

    async def until_line(self, holder: str | None, *waiting: str) -> None:
        """Wait until this Run uses the login alone, and these wait for that."""
        await self.until_view(lambda view: (view.lease.holder, view.lease.next) == (holder, waiting))

    async def until_continued(self) -> None:
        """Wait until it has begun a fresh history."""
        first = (await self.events(self.session.id))[0].workflow_execution_started_event_attributes
        await until(self.session.describe, DEADLINE, true=lambda now: now.run_id != first.first_execution_run_id)

    async def until_forgotten(self) -> None:
        """Wait until the removal of some artifacts was requested."""
        await until(lambda: self.forgotten, DEADLINE)

    async def closed(self) -> None:
        """Wait for the end of the AuthSession, which must be its own."""
        async with asyncio.timeout(DEADLINE):
            await self.session.result()
        assert (await self.session.describe()).status is WorkflowExecutionStatus.COMPLETED

    # Runs that use it.

    def auth(self, **fields: Any) -> RunAuth:
        defaults: dict[str, Any] = {
            "ref": self.ref,
            "auto_recreate": True,
            "check_attempts": 2,
            "create_attempts": 2,
            "request_timeout": timedelta(minutes=5),
        }
        return RunAuth(**{**defaults, **fields})

    def runtime(self) -> RunAuth:
        """From now on the AuthSession is one that lives for the stage's Run alone."""
        self.ref = AuthSessionRef(id="runtime", type=AuthSessionType.RUNTIME, owner=f"~{self.run_id}")
        return self.auth(parameters_key=FIRST.parameters_key)

    def recorder(self) -> None:
        """From now on the AuthSession is one of the recorder."""
        self.ref = self.ref.model_copy(update={"type": AuthSessionType.RECORDER})

    def record_spec(self, run_id: str, **fields: Any) -> LoginSpec:
        """What a record logs in with."""
        of_person = {"parameters_key": None, "start_url": START_URL, "create_attempts": 1}
        return self.login_spec(run_id, RunType.AUTH_SESSION_RECORD, **{**of_person, **fields})

    @property
    def validate_id(self) -> str:
        """Of the Validate that `validate` starts."""
        return f"validate-{self.project}"

    async def validate(self, run_id: str | None = None, **fields: Any) -> None:
        """Start a Validate that no Run waits for."""
        defaults: dict[str, Any] = {
            **self.auth().model_dump(include={"auto_recreate", "check_attempts", "create_attempts", "request_timeout"}),
            "workspace": WORKSPACE,
            "project": self.project,
            "version": "0123456789abcdef",
            "ref": self.ref,
        }
        await self.client.start_workflow(
            ValidateWorkflow.run,
            ValidateInput(**{**defaults, **fields}),
            id=run_id or self.validate_id,
            task_queue=self.queue,
            memo=auth_run_memo(WORKSPACE, "0123456789abcdef", None),
            search_attributes=auth_run_search_attributes(self.project, self.ref.id, RunType.AUTH_SESSION_VALIDATE),
        )

    async def outcome_of(self, run_id: str) -> RunOutcome:
        """Wait for the outcome of any Run."""
        handle = self.client.get_workflow_handle(run_id, result_type=RunOutcome)
        await until(lambda: self.events(run_id), DEADLINE)  # a child may be about to be started
        return await outcome_of(handle)

    async def validated(self) -> RunOutcome:
        """The outcome of what `validate` has started."""
        return await self.outcome_of(self.validate_id)

    async def creates_begun(self) -> list[str]:
        """The Runs that the AuthSession has started."""
        return [
            event.child_workflow_execution_started_event_attributes.workflow_execution.workflow_id
            for event in await self.events(self.session.id)
            if event.event_type == EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED
        ]

    async def histories(self) -> list[tuple[str, WorkflowHistory]]:
        """Of all workflows on the stage, by their kinds, in the order in which they began."""
        found: list[tuple[str, WorkflowHistory]] = []
        ids = [self.run_id, self.validate_id, self.session.id]
        for workflow_id in ids:  # which grows meanwhile
            events = await self.events(workflow_id)
            while events:
                begun = events[0].workflow_execution_started_event_attributes
                begun.workflow_id = workflow_id  # which a server that skips time leaves out
                found.append((Kind(f".{begun.workflow_type.name.lower()}"), WorkflowHistory(workflow_id, events)))
                for event in events:
                    if event.event_type == EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED:
                        child = event.child_workflow_execution_started_event_attributes.workflow_execution.workflow_id
                        ids += [child] if child not in ids else []
                before = self.client.get_workflow_handle(workflow_id, run_id=begun.continued_execution_run_id)
                continued = bool(begun.continued_execution_run_id)
                events = [event async for event in before.fetch_history_events()] if continued else []
        return sorted(found, key=lambda each: each[1].events[0].event_time.ToNanoseconds())


class _Tripwire(PayloadCodec):
    """Leaves payloads as they are."""

    def __init__(self, text: bytes, do: Callable[[], Awaitable[None]]) -> None:
        self._text = text
        self._do: Callable[[], Awaitable[None]] | None = do

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        do = self._do
        if do is not None and any(self._text in payload.data for payload in payloads):
            self._do = None
            await do()
        return list(payloads)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return list(payloads)


async def _noted(_input: DeleteStatesInput) -> None:
    pass


def made_by(input: AttemptInput) -> LoginState:
    """The login that a create leaves."""
    assert input.auth
    return LoginState(
        login_version=input.auth.new_login_version,
        key=f"state-{input.auth.new_login_version}",
        parameters_key=input.auth.parameters_key,
    )


async def made_but_bad(input: AttemptInput) -> AttemptOutcome:
    """A create that succeeds, with a login that the site does not know."""
    return good(made_by(input))


async def one_try(
    input: AttemptInput, seen: list[AttemptInput], script: deque[Part], otherwise: Part
) -> AttemptOutcome:
    """A try of a check or create as the real activities make it."""
    input = input.model_copy(update={"number": input.number + activity.info().attempt - 1})
    seen.append(input)
    part = script.popleft() if script else otherwise
    outcome = await part(input)
    if outcome.status is AttemptStatus.FAILED:
        assert outcome.error
        failed = FailedAttemptDetails(
            number=input.number,
            error=outcome.error,
            login_version=outcome.login.login_version if outcome.login else None,
        )
        raise ApplicationError(outcome.error.message, failed, type=ATTEMPT_FAILED, non_retryable=outcome.final)
    return outcome.model_copy(update={"number": input.number})


def scripted(
    start: Callable[[LoginStage], Awaitable[RunOutcome]],
    name: str,
    *recorded: Kind,
    valid: Iterable[int] = (),
    checks: Iterable[Part] = (),
    creates: Iterable[Part] = (),
    attempts: Iterable[Part] = (),
    session: bool = True,
    then: AuthSessionStatus | None = None,
) -> None:
    """Keep a shape that is told by what its checks, creates and Attempts do.

    Args:
        start: Starts the workflow and returns its outcome.
        name: Of the shape.
        recorded: The workflows whose histories are new in it.
        valid: The logins that the site knows at first.
        checks: What the first checks do.
        creates: What the first creates do.
        attempts: What the Attempts do.
        session: There is an AuthSession, with a login, before the start.
        then: The status that the AuthSession has in the end.
    """

    async def play(stage: LoginStage) -> None:
        stage.valid = {*valid}
        stage.checks.extend(checks)
        stage.creates.extend(creates)
        await stage.serve(*attempts)
        if session:
            await stage.bring_up()
        stage.outcome = await start(stage)
        if then is not None:
            await stage.until_status(then)

    keep(name, LoginStage, play, recorded=recorded)
