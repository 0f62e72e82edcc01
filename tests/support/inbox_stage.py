"""A stage for Inboxes: the real workflow, with Handoffs that are a set of ids; and every shape that it can take."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio import activity
from temporalio.client import Client, WorkflowHandle

from callboard.schemas.workflow import names
from callboard.schemas.workflow.inbox import CodeWait, GiveCodeInput, GivenCode, InboxInput, PushedCode
from callboard.temporal.inboxes import Inboxes
from tests.support.polling import until
from tests.support.stage import DEADLINE, WORKSPACE, Server, Stage, shape
from workflows.inbox import InboxWorkflow

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


class InboxStage(Stage):
    """One Inbox, what it has offered, and who has got it."""

    def __init__(self, client: Client, name: str) -> None:
        super().__init__(client, name, queue=names.CALLBOARD_QUEUE)
        self._inboxes = Inboxes(client)
        self.offers: list[tuple[str, list[str]]] = []
        """Contents, and the ids of the Handoffs that each was offered to."""
        self.given: list[tuple[str, str]] = []
        """Contents, and the ids of the Handoffs that have got them."""
        self.ended = set[str]()
        """The ids of Handoffs that are not open."""
        self.failure: Exception | None = None
        """What it fails with to give a code."""

    @property
    def handle(self) -> WorkflowHandle[Any, None]:
        return self.client.get_workflow_handle(names.inbox_workflow_id("shop", self.name))

    async def start(self) -> WorkflowHandle[Any, None]:
        """Start it before any signal does. While the result of this handle is waited for, the server skips time."""
        return await self.client.start_workflow(
            InboxWorkflow.run,
            InboxInput(workspace=WORKSPACE, project="shop"),
            id=self.handle.id,
            task_queue=self.queue,
        )

    async def push(self, content: str) -> None:
        code = PushedCode(id=f"{self.name}-{content}", content=content)
        await self._inboxes.push(WORKSPACE, "shop", self.name, code)

    async def wait(
        self, handoff_id: str, pattern: str | None = None, *, since: datetime = LONG_AGO, minutes: float = 15
    ) -> None:
        wait = CodeWait(
            handoff_id=handoff_id,
            field="code",
            pattern=pattern,
            since=since,
            until=datetime.now(UTC) + timedelta(minutes=minutes),
        )
        await self._inboxes.wait(WORKSPACE, "shop", self.name, wait)

    async def offered(self, number: int) -> None:
        """Wait until a code was offered so many times."""
        await until(lambda: len(self.offers) >= number, DEADLINE)

    async def serve(self) -> None:
        await self.work(self.queue, [self._give_code], workflows=[InboxWorkflow])

    @activity.defn(name=names.GIVE_CODE)
    async def _give_code(self, input: GiveCodeInput) -> GivenCode:
        content = input.code.content
        self.offers.append((content, [wait.handoff_id for wait in input.waits]))
        if self.failure is not None:
            raise self.failure
        closed: list[str] = []
        for wait in input.waits:
            if wait.handoff_id in self.ended:
                closed.append(wait.handoff_id)
            elif wait.pattern is None or re.search(wait.pattern, content):
                self.ended.add(wait.handoff_id)
                self.given.append((content, wait.handoff_id))
                return GivenCode(taken_by=wait.handoff_id, closed=tuple(closed))
        return GivenCode(closed=tuple(closed))


@shape(InboxStage)
async def codes_before_and_after_their_questions(inbox: InboxStage) -> None:
    await inbox.serve()
    await inbox.push("old")
    await inbox.push("new")
    await inbox.wait("first")
    await inbox.offered(1)
    await inbox.wait("digits", "[0-9]")
    await inbox.offered(2)
    await inbox.wait("second")
    await inbox.offered(3)
    await inbox.push("12")
    await inbox.handle.result()


@shape(InboxStage, server=Server.SKIPPING)
async def code_that_nobody_takes(inbox: InboxStage) -> None:
    inbox.ended.add("gone")
    handle = await inbox.start()
    await inbox.push("kept")
    await inbox.wait("gone")
    await inbox.serve()
    await handle.result()
