"""Ask a person for an Attempt: its question waits in the workflow of its Run (docs/contract.md, section 22)."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import defaultdict, deque
from collections.abc import Generator, Iterable
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.client import (
    Client,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
    WorkflowUpdateStage,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from activities.attempts.running_attempts import RunningAttempt
from callboard.machines.machine_attempt import MachineAttempt
from callboard.projects.project_settings import ProjectSettings
from callboard.schemas.errors import ConfigurationError
from callboard.schemas.workflow import names
from callboard.schemas.workflow.handoff import (
    AT_ONCE,
    MOST_ASKED,
    MOST_AT_ONCE,
    TOO_OFTEN,
    HandoffAnswer,
    HandoffEnd,
    HandoffField,
    HandoffKind,
    HandoffRequest,
    HandoffStatus,
)
from callboard.schemas.workflow.inbox import KEPT_FOR, CodeWait
from callboard.schemas.workflow.sink import DeliverySchedule, SealedSink
from callboard.security import seal_context
from callboard.security.addressees import addressee
from callboard.security.keyring import KeyRing
from callboard.security.masking import MIN_MASKED_LENGTH
from callboard.security.sealed_sinks import seal_webhook
from callboard.telemetry import metrics
from callboard.temporal.handoffs import open_handoffs
from callboard.temporal.inboxes import Inboxes
from callboard.temporal.rpc_errors import cancels_kept, is_transient

log = logging.getLogger(__name__)

_ASK_AGAIN_AFTER = 1.0
"""Seconds after which a question that Temporal has not taken is brought to it again. If Temporal is away for too long,
the Attempt is interrupted."""
_TAKEN_WITHIN = timedelta(seconds=10)
"""How much longer than its own time a question waits: for a worker to take it to its Run, and to tell how it ended."""
_UNKNOWN = f"Update handler for '{names.ASK}' expected but not found"
"""What the SDK says where a workflow has no such update."""
_TOLD_WITHIN = timedelta(seconds=3)
"""How long Temporal gets to hear that a question has ended for user code."""
_REMEMBERED = 1000
"""How many questions are known to have ended: Temporal lists each as open for a moment longer."""
_TOO_SHORT = (
    f"The Attempt was given a secret answer that is too short to be masked (under {MIN_MASKED_LENGTH} characters)."
)

_UNTIL = "its `until` holds"
"""Why a question is completed that no person has answered, but user code itself."""

_AddressedWait = tuple[str, CodeWait]
"""The keyed hash of whom codes are sent to, and what waits for one."""


class OpenQuestions:
    """The questions that Attempts of this worker wait with, by project."""

    def __init__(self) -> None:
        self._open: dict[str, set[str]] = defaultdict(set)
        self._ended = deque[str](maxlen=_REMEMBERED)

    @contextmanager
    def note(self, project: str, question: str) -> Generator[None]:
        """Have the question count as open for as long as the block lasts."""
        is_open = self._open[project]
        is_open.add(question)
        metrics.current().handoffs_open(project, len(is_open))
        try:
            yield
        finally:
            is_open.discard(question)
            self._ended.append(question)
            metrics.current().handoffs_open(project, len(is_open))

    def count(self, project: str, listed: Iterable[str]) -> int:
        """Return how many are open: those of this worker, and of those that Temporal lists the others'.

        The list is late: it still has questions of this worker that have ended.
        """
        return len(self._open[project].union(listed).difference(self._ended))


@dataclass
class AttemptHandoffs:
    """The questions of one Attempt. It is user code that asks: what it floods us with ends here."""

    client: Client
    keyring: KeyRing
    running: RunningAttempt
    settings: ProjectSettings
    delivery_timeout: timedelta
    """How long one try may take to tell the project's webhook of a question."""
    questions: OpenQuestions = field(default_factory=OpenQuestions)
    """Those of all Attempts of this worker."""
    _asked: int = 0
    _waiting: dict[str, asyncio.Future[HandoffEnd]] = field(default_factory=dict[str, asyncio.Future[HandoffEnd]])
    """The ids of those that are asked, each with how user code has ended it itself, once it has."""

    async def ask(self, kind: HandoffKind, arguments: dict[str, Any]) -> str:
        """Ask a person, and return how that ended, as JSON: `status`, and `values` or `reason`.

        The supervisor has checked the arguments.
        """
        if sum(not ended.done() for ended in self._waiting.values()) >= MOST_AT_ONCE:
            return _told(HandoffEnd(status=HandoffStatus.WITHDRAWN, reason=AT_ONCE))
        if self._asked >= MOST_ASKED:
            return _told(HandoffEnd(status=HandoffStatus.WITHDRAWN, reason=TOO_OFTEN))
        self._asked += 1
        question = self._id(arguments)
        ended = self._waiting[question] = asyncio.get_running_loop().create_future()
        try:
            return await self._ask(kind, question, arguments, ended)
        finally:
            self._waiting.pop(question, None)

    def withdraw(self, arguments: dict[str, Any]) -> None:
        """Withdraw a question whose answer user code does not wait for any more."""
        self._end(arguments, HandoffEnd(status=HandoffStatus.WITHDRAWN))

    def complete(self, arguments: dict[str, Any]) -> None:
        """End a question without a person, as what user code waits for has come."""
        self._end(arguments, HandoffEnd(status=HandoffStatus.COMPLETED, reason=_UNTIL))

    def _end(self, arguments: dict[str, Any], end: HandoffEnd) -> None:
        ended = self._waiting.get(self._id(arguments))
        if ended is not None and not ended.done():
            ended.set_result(end)

    async def _ask(
        self, kind: HandoffKind, question: str, arguments: dict[str, Any], ended: asyncio.Future[HandoffEnd]
    ) -> str:
        attempt, on_machine = self.running.input, self.running.on_machine
        if on_machine is None:
            raise RuntimeError("an Attempt asks that is on no Machine")
        asked_for = timedelta(seconds=float(arguments["timeout"]))
        timeout = min(asked_for, self.settings.handoffs.longest)
        try:
            asked = HandoffRequest(
                id=question,
                kind=kind,
                attempt=attempt.number,
                instructions=self.running.masker.mask_text(arguments["instructions"]),
                fields=_fields(arguments) if kind is HandoffKind.INPUT else (),
                timeout=timeout,
                sink=self._sink(timeout),
            )
            wait = self._code_wait(asked, arguments) if kind is HandoffKind.INPUT else None
        except ConfigurationError as error:  # so no answer could be sealed either
            return _told(HandoffEnd(status=HandoffStatus.WITHDRAWN, reason=error.message))
        if kind is HandoffKind.BROWSER:  # whoever hears of it comes at once, and has to find the browser
            await self.running.start_recorded.wait()
        # From its return on, nothing is awaited until the question counts.
        if reason := await self._refusal():
            return self._note_end(on_machine, asked, HandoffEnd(status=HandoffStatus.WITHDRAWN, reason=reason))
        if ended.done():
            return _told(ended.result())
        bounded = f"; handoffs.maxTimeout bounds the {asked_for.total_seconds():g}" if timeout < asked_for else ""
        what = "A person is asked" if kind is HandoffKind.INPUT else "A person is handed the browser"
        on_machine.note(f"{what}, for {timeout.total_seconds():g} seconds{bounded}: {asked.instructions}")
        hands = self.running.live.handed_over(asked.id) if kind is HandoffKind.BROWSER else nullcontext()
        with self.questions.note(attempt.project, asked.id), on_machine.clock_stopped():
            async with hands:
                end = await self._wait(asked, wait, on_machine, ended)
        if ended.done():
            await self._tell(asked.id, end)
        metrics.current().handoff_ended(attempt.project, kind=asked.kind, status=end.status)
        values = self._open_values(asked, end)
        secrets = [values[each.name] for each in asked.fields if each.secret and each.name in values]
        if secrets:
            await self._mask(on_machine, secrets)
        return self._note_end(on_machine, asked, end, values)

    def _sink(self, timeout: timedelta) -> SealedSink | None:
        """Return the project's webhook, if there is one, sealed for the Run. Raises ConfigurationError without a key.

        It is tried for as long as the question waits.
        """
        webhook, attempt = self.settings.handoffs.webhook, self.running.input
        if webhook is None:
            return None
        bound_to = seal_context.run(attempt.workspace, attempt.project, attempt.run_id)
        sealed = seal_webhook(webhook.url, webhook.headers, self.keyring, bound_to)
        return SealedSink(
            webhook=sealed, schedule=DeliverySchedule(give_up_after=timeout, timeout=self.delivery_timeout)
        )

    async def _withdraw(self, question: str) -> None:
        await self._tell(question, HandoffEnd(status=HandoffStatus.WITHDRAWN))

    async def _tell(self, question: str, end: HandoffEnd) -> None:
        """Tell the Run how a question has ended for user code. It ends with its Attempt at last."""
        ended = HandoffAnswer(id=question, end=end)
        try:
            await self._run.signal(names.END_HANDOFF, ended, rpc_timeout=_TOLD_WITHIN)
        except RPCError as error:
            log.info("Run %s: a question was not ended: %s", self.running.input.run_id, error.message)

    async def _refusal(self) -> str | None:
        """Return why no further question of the project may be open; None if one may."""
        attempt, most = self.running.input, self.settings.most_open_handoffs
        try:
            listed = {each.id for each in await open_handoffs(self.client, attempt.workspace, attempt.project)}
        except RPCError as error:  # whoever cannot count must not take the Machines of others
            return f"Temporal does not list the questions that are open: {error.message}"
        if (count := self.questions.count(attempt.project, listed)) < most:
            return None
        return (
            f"{count} questions of project {attempt.project} are open, of {most}. Each holds a Machine "
            "(handoffs.maxOpen, replication.maxConcurrentRequests)."
        )

    async def _wait(
        self,
        asked: HandoffRequest,
        wait: _AddressedWait | None,
        on_machine: MachineAttempt,
        ended: asyncio.Future[HandoffEnd],
    ) -> HandoffEnd:
        """Return how the question has ended, in its Run or for user code. Whoever is canceled withdraws it."""
        limit = asked.timeout + _TAKEN_WITHIN
        asking = asyncio.ensure_future(self._bring(asked, wait))
        # Once user code has ended, what it leaves is still to be saved, and nobody waits for an answer meanwhile.
        on_machine.done.add_done_callback(lambda _: asking.cancel())
        try:
            async with asyncio.timeout(limit.total_seconds()):
                await asyncio.wait({asking, ended}, return_when=asyncio.FIRST_COMPLETED)
            return asking.result() if asking.done() else ended.result()
        except TimeoutError:
            await self._withdraw(asked.id)
            return HandoffEnd(status=HandoffStatus.EXPIRED, reason="no worker that carries out Runs has taken it")
        except asyncio.CancelledError:
            await self._withdraw(asked.id)
            raise
        finally:
            asking.cancel()

    async def _bring(self, asked: HandoffRequest, wait: _AddressedWait | None) -> HandoffEnd:
        """Bring the question to the Run, and wait there. The id makes that idempotent, so it can be asked again.

        The Inbox hears of it once the Run has: what is open there may be answered by a code.
        """
        while True:
            try:
                with cancels_kept():
                    update = await self._run.start_update(
                        *(names.ASK, asked),
                        id=asked.id,
                        wait_for_stage=WorkflowUpdateStage.ACCEPTED,
                        result_type=HandoffEnd,
                    )
                    if wait is not None:
                        attempt, (addressed_to, code_wait) = self.running.input, wait
                        await Inboxes(self.client).wait(attempt.workspace, attempt.project, addressed_to, code_wait)
                    return await update.result()
            except WorkflowUpdateFailedError as error:
                reason = error.cause.message if isinstance(error.cause, ApplicationError) else str(error.cause)
                if reason.startswith(_UNKNOWN):
                    reason = "The workers that carry out Runs do not know questions yet."
                return HandoffEnd(status=HandoffStatus.WITHDRAWN, reason=reason)
            except WorkflowUpdateRPCTimeoutOrCancelledError:
                await asyncio.sleep(_ASK_AGAIN_AFTER)
            except RPCError as error:
                if not is_transient(error):
                    await self._withdraw(asked.id)  # the Run may have it, and the Inbox not
                    return HandoffEnd(status=HandoffStatus.WITHDRAWN, reason=f"Temporal refuses it: {error.message}")
                await asyncio.sleep(_ASK_AGAIN_AFTER)

    def _code_wait(self, asked: HandoffRequest, arguments: dict[str, Any]) -> _AddressedWait | None:
        """Return which codes may answer the question; None: a person alone does.

        Raises:
            ConfigurationError: There is no key, and so nobody could push a code, either.
        """
        if not (code_to := arguments["code_to"]):
            return None
        running, attempt, (field,) = self.running, self.running.input, asked.fields
        begin = running.started_at
        if since := arguments["since"]:  # by the clock of this host, which may be wrong
            ago = datetime.now(UTC) - datetime.fromisoformat(since)
            begin = running.now() - min(max(ago, timedelta()), KEPT_FOR)
        return addressee(self.keyring, attempt.workspace, attempt.project, code_to), CodeWait(
            handoff_id=asked.id,
            field=field.name,
            pattern=field.pattern,
            since=begin,
            until=running.now() + asked.timeout + _TAKEN_WITHIN,
        )

    def _open_values(self, asked: HandoffRequest, end: HandoffEnd) -> dict[str, str]:
        if end.values is None:
            return {}
        attempt = self.running.input
        bound_to = seal_context.handoff(attempt.workspace, attempt.project, asked.id)
        return json.loads(self.keyring.open(end.values, bound_to=bound_to))

    async def _mask(self, on_machine: MachineAttempt, secrets: list[str]) -> None:
        """Mask the answers from here on, in all that the Attempt leaves."""
        on_machine.add_secrets(secrets)
        self.running.answers += secrets
        await self.running.mask_with(lambda masker: masker.with_secrets(secrets))
        if any(len(secret) < MIN_MASKED_LENGTH for secret in secrets):
            self.running.withheld = _TOO_SHORT
            on_machine.note("The answer is secret, and too short to be masked: no trace and no screenshot is kept")

    def _note_end(
        self, on_machine: MachineAttempt, asked: HandoffRequest, end: HandoffEnd, values: dict[str, str] | None = None
    ) -> str:
        """Note in the log how a question has ended, and return what user code is told."""
        why = f": {end.reason}" if end.reason else ""
        on_machine.note(
            f"The question {asked.id} is {end.status}{why}",
            "info" if end.status is HandoffStatus.COMPLETED else "warning",
        )
        return _told(end, values)

    def _id(self, arguments: dict[str, Any]) -> str:
        return names.handoff_id(self.running.input.run_id, self.running.input.number, int(arguments["question"]))

    @property
    def _run(self) -> Any:
        return self.client.get_workflow_handle(self.running.input.run_id, run_id=self.running.execution_id)


def _fields(arguments: dict[str, Any]) -> tuple[HandoffField]:
    """Return the field that `request_input` asks for."""
    pattern, secret = arguments["pattern"] or None, arguments["masked"] == "true"
    return (HandoffField(name=arguments["name"], pattern=pattern, secret=secret),)


def _told(end: HandoffEnd, values: dict[str, str] | None = None) -> str:
    """Return what user code is told of an end."""
    return json.dumps({"status": end.status.value, "values": values or {}, "reason": end.reason})
