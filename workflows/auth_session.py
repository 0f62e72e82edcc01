"""The workflow `AuthSession`: the only writer of an AuthSession, running for as long as that exists.

Others read its memo (`AuthSessionView`). Every change arrives as a signal; what takes time, a Create, is done one at a
time, so that the login is recreated once, however many Runs find it expired.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from contextlib import suppress
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, FailureError
from temporalio.workflow import ChildWorkflowCancellationType, ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from callboard.schemas.workflow import names
    from callboard.schemas.workflow.auth import (
        AuthSessionStatus,
        AuthSessionType,
        CheckReport,
        DeleteStatesInput,
        Imported,
        SavedBack,
    )
    from callboard.schemas.workflow.auth_session import (
        LEASES_SHOWN,
        RECORD_TIMEOUT,
        AuthSessionInput,
        CreateInput,
        LeaseAnswer,
        LeaseRequest,
        LeaseView,
        LoginSpec,
        RecreateRequest,
        RecreateResult,
    )
    from callboard.schemas.workflow.proxy import SealedProxy, owned_by_auth_session
    from callboard.schemas.workflow.run import RunError, RunOutcome, RunType
    from workflows import auth_outcomes
    from workflows.cancellation import finish, outcome_of_child
    from workflows.visibility import auth_run_memo, auth_run_search_attributes, auth_session_memo

_MAX_STALE = 16
"""How many outdated states are kept: an Attempt may be about to begin with one of them."""
_STALE_KEPT = 4
"""How many of them stay when the others are removed."""
_LOOK_AGAIN_AFTER = timedelta(seconds=30)
"""Time after which the holder of a lease for which others wait is looked for: one that was terminated in Temporal
itself tells nobody. If it is gone, the lease is its own for as long again. By then its Attempt has ended, too: its
worker hears of that with a heartbeat, or stops it as it hears nothing from Temporal."""
_LOOK_TIMEOUT = timedelta(seconds=30)
_TOLD_AT_ONCE = 100
"""How many workflows are signaled at the same time; Temporal allows 2,000."""
_DELETE_TIMEOUT = timedelta(hours=1)
_VERBS = {
    RunType.AUTH_SESSION_CREATE: "Create",
    RunType.AUTH_SESSION_UPDATE: "Update",
    RunType.AUTH_SESSION_RECORD: "Record",
}
"""Name of a Create in the Temporal Web UI."""


@workflow.defn(name=names.AUTH_SESSION)
class AuthSessionWorkflow:
    """One AuthSession, from its creation until it is deleted."""

    @workflow.init
    def __init__(self, input: AuthSessionInput) -> None:
        self._input = input
        self._view = input.view
        self._recreate_requests: list[RecreateRequest] = []
        self._is_unwanted = False
        """Whether nobody waits any more for the login that Validates have asked for."""
        self._updates = list(input.updates)
        self._line = list(input.line)
        """The Run, Validate or Update whose turn it is to use the login alone, and those that wait for that."""
        self._holder = input.view.lease.holder
        """The first of these, from when its turn has begun."""
        self._is_holder_told = True
        """Whether it has been told so since it last asked."""
        self._is_holder_gone = False
        self._look_at = workflow.now() + _LOOK_AGAIN_AFTER
        self._stale = list(input.stale)
        self._deleted = False

    @workflow.run
    async def run(self, input: AuthSessionInput) -> None:
        """Run until the AuthSession is deleted, or could not even be created; then leave nothing behind."""
        # On a cancel, the AuthSession's Run is over, or an operator ended it: it goes as if it were deleted.
        await finish(self._run_until_deleted(input.create), self.delete)

    async def _run_until_deleted(self, create: LoginSpec | None) -> None:
        error = auth_outcomes.auth_session_deleted(self._input.ref.id)
        outcome = None if create is None else await self._log_in(create)
        # One that is being recorded may have been imported meanwhile.
        if create is None or outcome is None or self._view.login is not None:
            await self._main_loop()
        elif not self._deleted:
            error = outcome.error or auth_outcomes.create_canceled(create.run_id)
        await self._reply(RecreateResult(error=error), [*self._recreate_requests])
        await self._dismiss_line(error)
        await self._delete_artifacts()
        await self._dismiss_line(error)  # those that have asked meanwhile, as nobody answers them any more

    async def _main_loop(self) -> None:
        while not self._deleted:
            look_after = self._look_at - workflow.now() if len(self._line) > 1 else None
            with suppress(TimeoutError):
                await workflow.wait_condition(
                    self._has_work, timeout=look_after, timeout_summary="Look whether the lease is still used"
                )
            if self._deleted:
                return
            if self._recreate_requests:
                await self._handle_recreate_requests()
            elif self._is_turn_over():
                await self._hand_over()
            elif self._is_look_due():
                await self._look_for_holder()
            elif len(self._stale) > _MAX_STALE:
                dropped, self._stale = self._stale[:-_STALE_KEPT], self._stale[-_STALE_KEPT:]
                await self._delete_artifacts(*dropped)
            elif self._line_view() != self._view.lease:
                self._update_view()
            elif workflow.info().is_continue_as_new_suggested():
                self._continue_as_new()

    def _has_work(self) -> bool:
        return bool(
            self._deleted
            or self._recreate_requests
            or self._is_turn_over()
            or self._is_look_due()
            or len(self._stale) > _MAX_STALE
            or self._line_view() != self._view.lease
            or workflow.info().is_continue_as_new_suggested()
        )

    def _continue_as_new(self) -> None:
        """Continue as a new execution with an empty history, while no Create is asked for or runs."""
        changes = {
            "view": self._view,
            "create": None,
            "stale": tuple(self._stale),
            "line": tuple(self._line),
            "updates": tuple(self._updates),
        }
        workflow.continue_as_new(
            self._input.model_copy(update=changes), memo=auth_session_memo(self._input.workspace, self._view)
        )

    def _is_turn_over(self) -> bool:
        return bool(self._line) and (self._line[0].run_id != self._holder or not self._is_holder_told)

    def _is_look_due(self) -> bool:
        return len(self._line) > 1 and workflow.now() >= self._look_at

    async def _hand_over(self) -> None:
        """Let the first in line use the login alone: execute it if it is an Update, else tell it.

        A Run or a Validate may have ended while it waited. A Create that was asked for before is over by now.
        """
        self._holder = holder = self._line[0].run_id
        self._is_holder_told, self._is_holder_gone = True, False
        self._look_at = workflow.now() + _LOOK_AGAIN_AFTER
        if self._updates and self._updates[0].run_id == holder:
            await self._run_update(self._updates.pop(0))
            self.release(holder)
            return
        self._update_view()
        try:
            await workflow.get_external_workflow_handle(holder).signal(names.LEASED, LeaseAnswer())
        except FailureError as error:
            workflow.logger.info("Run %s has ended while it waited: %s", holder, error)
            self.release(holder)

    async def _look_for_holder(self) -> None:
        """Take the lease from a holder that has ended without a word, once nothing of it can run any more."""
        holder = self._line[0].run_id
        try:
            is_gone = await workflow.execute_activity(
                names.IS_RUN_OVER,
                holder,
                result_type=bool,
                schedule_to_close_timeout=_LOOK_TIMEOUT,
                summary=f"Look whether Run {holder} has ended",
            )
        except ActivityError as error:
            workflow.logger.info("It is not known whether Run %s has ended: %s", holder, error.cause)
            is_gone = False
        if is_gone and self._is_holder_gone:
            self.release(holder)
        self._is_holder_gone, self._look_at = is_gone, workflow.now() + _LOOK_AGAIN_AFTER

    async def _dismiss_line(self, error: RunError) -> None:
        """Tell all that wait for their turn that the AuthSession is gone. Whoever uses the login goes on."""

        async def tell(waiting: str) -> None:
            with suppress(FailureError):  # it has ended meanwhile
                await workflow.get_external_workflow_handle(waiting).signal(names.LEASED, LeaseAnswer(error=error))

        kept = {self._holder, *(update.run_id for update in self._updates)}
        while waiting := [each.run_id for each in self._line if each.run_id not in kept][:_TOLD_AT_ONCE]:
            self._line = [each for each in self._line if each.run_id not in waiting]
            await asyncio.gather(*map(tell, waiting))

    async def _handle_recreate_requests(self) -> None:
        """Recreate the login, unless that has happened since the asker saw it.

        All who ask meanwhile get the same answer.
        """
        served = [
            request for request in self._recreate_requests if request.seen_login_version < self._view.login_version
        ]
        if served:
            self._recreate_requests = [request for request in self._recreate_requests if request not in served]
            await self._reply(RecreateResult(login=self._view.login), served)
            return
        if self._view.parameters_key is None and self._view.start_url is None:
            answer = RecreateResult(error=auth_outcomes.not_recreatable(self._input.ref.id))
        else:
            changes = {"parameters_key": self._view.parameters_key, "start_url": self._view.start_url}
            asked = self._recreate_requests[0].spec
            if self._view.start_url is not None:
                proxy = self._view.proxy or asked.proxy
                changes |= {"type": RunType.AUTH_SESSION_RECORD, "request_timeout": RECORD_TIMEOUT, "proxy": proxy}
            spec = asked.model_copy(update={"run_id": workflow.uuid4().hex, **changes})
            self._is_unwanted = False
            outcome = await self._log_in(spec)
            if self._deleted:
                return  # they get the same answer as all who ask a deleted AuthSession
            answer = RecreateResult(login=self._view.login, run_id=spec.run_id)
            if outcome.login is None:
                self._update_view(status=AuthSessionStatus.EXPIRED, pending_run_id=None)
                if self._is_unwanted:
                    return  # who has asked since then gets a login of its own
                error = outcome.error or auth_outcomes.create_canceled(spec.run_id, outcome.reason)
                answer = RecreateResult(error=error, run_id=spec.run_id)
        served, self._recreate_requests = self._recreate_requests, []
        await self._reply(answer, served)

    async def _run_update(self, spec: LoginSpec) -> None:
        before = self._view.status
        outcome = await self._log_in(spec)
        if outcome.login is None:  # the old login and the old parameters stay
            if spec.parameters_key is not None:
                self._stale.append(spec.parameters_key)
            self._update_view(status=before, pending_run_id=None)

    async def _log_in(self, spec: LoginSpec) -> RunOutcome:
        """Run a Create and keep the login that it returns; if there is none, the caller decides what that means."""
        self._update_view(status=AuthSessionStatus.PENDING, pending_run_id=spec.run_id)
        outcome = await self._create(spec)
        if outcome.login is not None:
            anew = spec.parent_run_id is not None and self._view.login_version > 0
            self._set_login(outcome.login.key, None if anew else spec)
        return outcome

    async def _create(self, spec: LoginSpec) -> RunOutcome:
        """Run a Create of this AuthSession as a Run of its own, and return its outcome; a delete cancels it."""
        ref = self._input.ref
        handle = await workflow.start_child_workflow(
            names.CREATE,
            CreateInput(
                workspace=self._input.workspace,
                project=self._input.project,
                ref=ref,
                spec=spec,
                login_version=self._view.login_version + 1,
            ),
            id=spec.run_id,
            result_type=RunOutcome,
            cancellation_type=ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
            parent_close_policy=ParentClosePolicy.REQUEST_CANCEL,
            memo=auth_run_memo(self._input.workspace, spec.version, spec.parent_run_id),
            search_attributes=auth_run_search_attributes(self._input.project, ref.id, spec.type),
            static_summary=f"{_VERBS[spec.type]} {ref.id} of {self._input.project}",
            static_details=spec.started_by and spec.started_by.start_note,
        )
        # A person is not asked for nobody. What no person makes is of use later.
        is_asked_for = spec.start_url is not None and spec.parent_run_id is not None
        return await outcome_of_child(handle, lambda: self._deleted or (is_asked_for and self._is_unwanted))

    def _set_login(self, state_key: str, spec: LoginSpec | None) -> None:
        """Make a new login the current one; with `spec`, make what it was made from the current, too, and its proxy."""
        changes: dict[str, object] = {}
        if spec is not None:
            changes = {
                "parameters_key": spec.parameters_key,
                "start_url": spec.start_url,
                "proxy": self._own_proxy(spec.proxy),
            }
            if self._view.parameters_key not in (None, spec.parameters_key):
                self._stale.append(str(self._view.parameters_key))
        if self._view.state_key is not None:
            self._stale.append(self._view.state_key)
        # The check of a Create may have saved this state back while the state before it was not current yet; it was
        # noted as stale then.
        self._stale = [key for key in self._stale if key != state_key]
        self._update_view(
            login_version=self._view.login_version + 1,
            state_key=state_key,
            status=AuthSessionStatus.READY,
            updated_at=workflow.now(),
            pending_run_id=None,
            **changes,
        )

    def _own_proxy(self, proxy: SealedProxy | None) -> SealedProxy | None:
        """Return the proxy if it was given for this AuthSession.

        A proxy of the project's settings applies only for a while.
        """
        own = proxy is not None and proxy.owner == owned_by_auth_session(self._input.ref.owner)
        return proxy if own else None

    def _update_view(self, **changes: object) -> None:
        """Change the view, and publish it if it is different, always with who uses the login and who waits for it."""
        lease = self._line_view()
        changed = self._view.model_copy(update={"lease": lease, **changes})
        if changed != self._view:
            self._view = changed
            workflow.upsert_memo({names.MEMO_VIEW: changed.model_dump(mode="json")})
            suffix = f"; Run `{changed.pending_run_id}` logs in" if changed.pending_run_id else ""
            if lease.holder is not None:
                suffix += f"; `{lease.holder}` uses it alone, and {lease.waiting} wait for their turn"
            workflow.set_current_details(f"{changed.status}, login {changed.login_version}{suffix}")

    def _line_view(self) -> LeaseView:
        waiting = [each.run_id for each in self._line if each.run_id != self._holder]
        return LeaseView(
            holder=self._holder,
            waiting=len(waiting),
            next=tuple(waiting[:LEASES_SHOWN]),
            parameters_key=self._updates[-1].parameters_key if self._updates else None,
            record=next((each.run_id for each in self._updates if each.start_url is not None), None),
        )

    async def _reply(self, result: RecreateResult, requests: list[RecreateRequest]) -> None:
        """Send the result to all askers at once; one that has ended meanwhile needs no answer."""

        async def send(asker: str) -> None:
            try:
                await workflow.get_external_workflow_handle(asker).signal(names.RECREATED, result)
            except FailureError as error:
                workflow.logger.info("Validate %s could not be signaled: %s", asker, error)

        await asyncio.gather(*(send(request.validate_run_id) for request in requests))

    async def _delete_artifacts(self, *stale: str) -> None:
        """Remove the named artifacts, or all artifacts of this AuthSession if none is named."""
        try:
            await workflow.execute_activity(
                names.DELETE_STATES,
                DeleteStatesInput(project=self._input.project, owner=self._input.ref.owner, keys=stale),
                schedule_to_close_timeout=_DELETE_TIMEOUT,
                start_to_close_timeout=timedelta(minutes=1),
                retry_policy=RetryPolicy(maximum_interval=timedelta(minutes=1)),
                summary="Delete stored states that are not needed any more",
            )
        except ActivityError as error:
            workflow.logger.warning("AuthSession %s: artifacts were not removed: %s", self._input.ref.id, error.cause)

    @workflow.signal(name=names.RECREATE)
    def recreate(self, request: RecreateRequest) -> None:
        """Note that a Validate found the login expired, and waits for a new one."""
        if request.validate_run_id not in {known.validate_run_id for known in self._recreate_requests}:
            self._recreate_requests.append(request)

    @workflow.signal(name=names.WITHDRAW_RECREATE)
    def withdraw_recreate(self, validate_run_id: str) -> None:
        """Note that a Validate does not wait for a new login any more."""
        self._recreate_requests = [each for each in self._recreate_requests if each.validate_run_id != validate_run_id]
        self._is_unwanted = self._is_unwanted or not self._recreate_requests

    @workflow.signal(name=names.UPDATE_LOGIN)
    def update_login(self, spec: LoginSpec) -> None:
        """Note that the AuthSession is to log in anew, when the turn of this Update or record comes."""
        self._updates.append(spec)
        self._stand_in_line(LeaseRequest(run_id=spec.run_id, at=workflow.now()))

    @workflow.signal(name=names.ACQUIRE_LEASE)
    def acquire(self, request: LeaseRequest) -> None:
        """Note that a Run or a Validate is to use the login alone; if it does already, it is told so once more."""
        if request.run_id == self._holder:
            self._is_holder_told = False  # and keeps its turn, though one that was started before may ask now
        elif not any(each.run_id == request.run_id for each in self._line):
            self._stand_in_line(request)

    def _stand_in_line(self, request: LeaseRequest) -> None:
        """Let it wait behind the holder and those that were started before, whichever has asked first."""
        insort(self._line, request, lo=0 if self._holder is None else 1, key=lambda each: each.at)

    @workflow.signal(name=names.RELEASE_LEASE)
    def release(self, run_id: str) -> None:
        """Note that a Run, Validate or Update uses the login alone no more, or does not wait for its turn any more."""
        self._line = [each for each in self._line if each.run_id != run_id]
        if run_id == self._holder:
            self._holder = None

    @workflow.signal(name=names.CHECKED)
    def checked(self, report: CheckReport) -> None:
        """Note that a check found a login good or expired."""
        if report.login_version == self._view.login_version and self._view.pending_run_id is None:
            self._update_view(status=AuthSessionStatus.READY if report.good else AuthSessionStatus.EXPIRED)

    @workflow.signal(name=names.SAVED_BACK)
    def saved_back(self, saved: SavedBack) -> None:
        """Make the state that a successful Attempt saved back current, unless another one is current by now."""
        if saved.before != self._view.state_key:
            self._stale.append(saved.after)
            return
        self._stale.append(saved.before)
        self._update_view(state_key=saved.after)

    @workflow.signal(name=names.IMPORTED)
    def imported(self, imported: Imported) -> None:
        """Make a newly imported state the current one."""
        if self._input.ref.type is AuthSessionType.RECORDER:
            self._set_login(imported.key, None)

    @workflow.signal(name=names.DELETE)
    def delete(self) -> None:
        """Note that the AuthSession will be deleted."""
        self._deleted = True
