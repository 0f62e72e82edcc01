"""The activity that gives a pushed code to a question that waits for it.

It runs on workers with the role `control`, in place of a person: who waits gets the answer from its Run.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from temporalio import activity
from temporalio.client import Client

from activities.heartbeat import SHORT_INTERVAL, heartbeats
from callboard.schemas.errors import Conflict
from callboard.schemas.workflow import names
from callboard.schemas.workflow.handoff import HandoffEnd, HandoffStatus
from callboard.schemas.workflow.inbox import GiveCodeInput, GivenCode
from callboard.security import seal_context
from callboard.security.keyring import KeyRing
from callboard.security.pattern_match import first_match
from callboard.settings import Settings
from callboard.temporal.handoffs import Handoffs


@dataclass(frozen=True)
class CodeActivities:
    """The activity `give_code`, on the common task queue."""

    handoffs: Handoffs
    keyring: KeyRing

    @classmethod
    def of(cls, settings: Settings, client: Client) -> CodeActivities:
        """Return the activity of a worker with these settings. Raises ConfigurationError if a key is too short."""
        return cls(Handoffs(client), KeyRing.of(settings))

    @activity.defn(name=names.GIVE_CODE)
    async def give_code(self, input: GiveCodeInput) -> GivenCode:
        """Answer the first Handoff that is open with what its pattern matches in the code.

        It can be repeated: the answer has an id, and so a Run takes it once.

        Raises:
            SealError, ConfigurationError: The code cannot be opened.
            Unavailable: A Run has not taken the answer in time.
        """
        workspace, project, code = input.workspace, input.project, input.code
        content = self.keyring.open(code.content, bound_to=seal_context.code(workspace, project, code.id))
        closed: list[str] = []
        async with heartbeats(interval=SHORT_INTERVAL):
            for wait in input.waits:
                value = content if wait.pattern is None else await first_match(wait.pattern, content)
                if value is None:
                    continue
                bound_to = seal_context.handoff(workspace, project, wait.handoff_id)
                sealed = self.keyring.seal(json.dumps({wait.field: value}), bound_to=bound_to)
                end = HandoffEnd(status=HandoffStatus.COMPLETED, values=sealed, reason="by a code that was pushed")
                try:
                    await self.handoffs.answer(wait.handoff_id, end, answer_id=f"{wait.handoff_id}:{code.id}")
                except Conflict:
                    closed.append(wait.handoff_id)
                else:
                    return GivenCode(taken_by=wait.handoff_id, closed=tuple(closed))
        return GivenCode(closed=tuple(closed))
