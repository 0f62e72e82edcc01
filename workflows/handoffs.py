"""The Handoffs of one Run: questions of its Attempts that wait for a person, shown in the memo of its workflow."""

from __future__ import annotations

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from callboard.schemas.workflow import names
    from callboard.schemas.workflow.handoff import (
        AT_ONCE,
        LINK_USED,
        MOST_ASKED,
        MOST_AT_ONCE,
        MOST_LINKS,
        MOST_SHOWN,
        NOT_OPEN,
        NOT_TAKEN,
        TOO_OFTEN,
        Handoff,
        HandoffAnswer,
        HandoffEnd,
        HandoffRequest,
        HandoffStatus,
        OpenedLink,
    )
    from workflows.children import start_handoff_delivery
    from workflows.visibility import HANDOFF


class Handoffs:
    """All Handoffs of one Run. They are open while an Attempt runs, and at no other time."""

    def __init__(self) -> None:
        self._asked: dict[str, Handoff] = {}
        self._ends: dict[str, HandoffEnd] = {}
        self._links: set[str] = set()
        """Links that were opened."""
        self._attempt: int | None = None
        """The number of the Attempt that is under way, as far as it is known; None if none is."""

    def begin_attempt(self, number: int) -> None:
        """Take questions of this Attempt from now on."""
        self._attempt = number

    def note_try(self, number: int) -> None:
        """Note that the Attempt is tried again with this number. Nobody has told of the try before: it is lost."""
        if self._attempt is not None and number > self._attempt:
            self.withdraw()
            self._attempt = number

    def close(self) -> None:
        """Take no further question or answer, as the Attempt has ended or was told to end."""
        self._attempt = None

    def check_taken(self, attempt: int) -> None:
        """Raise ApplicationError of the type `NOT_TAKEN` if this Attempt can ask no further question now."""
        if self._attempt is None or attempt < self._attempt:
            raise ApplicationError(f"Attempt {attempt} of the Run is not under way.", type=NOT_TAKEN)
        if len(self._open) >= MOST_AT_ONCE:
            raise ApplicationError(AT_ONCE, type=NOT_TAKEN)
        if len(self._asked) >= MOST_ASKED:
            raise ApplicationError(TOO_OFTEN, type=NOT_TAKEN)

    async def ask(self, asked: HandoffRequest) -> HandoffEnd:
        """Show the question, and return how it ends, which it does with the Attempt at the latest."""
        if asked.id in self._ends:
            return self._ends[asked.id]
        self.note_try(asked.attempt)
        now = workflow.now()
        opened = self._asked[asked.id] = Handoff(
            id=asked.id,
            kind=asked.kind,
            attempt=asked.attempt,
            instructions=asked.instructions,
            fields=asked.fields,
            status=HandoffStatus.OPEN,
            created_at=now,
            expires_at=now + asked.timeout,
            is_told=asked.sink is not None,
        )
        self._publish()
        if asked.sink is not None:
            await start_handoff_delivery(opened, asked.sink)
        try:
            await workflow.wait_condition(
                lambda: asked.id in self._ends, timeout=asked.timeout, timeout_summary="Wait for a person"
            )
        except TimeoutError:
            self.end(asked.id, HandoffEnd(status=HandoffStatus.EXPIRED))
        return self._ends[asked.id]

    def check_open(self, handoff_id: str) -> None:
        """Raise ApplicationError of the type `NOT_OPEN` if nobody waits for an answer to this."""
        if self._attempt is None or handoff_id not in self._open:
            raise ApplicationError("Nobody waits for this answer any more.", type=NOT_OPEN)

    def check_link(self, opened: OpenedLink) -> None:
        """Raise ApplicationError of the type `NOT_OPEN` or `LINK_USED` if this link opens nothing."""
        self.check_open(opened.id)
        if opened.link in self._links:
            raise ApplicationError("This link was used.", type=LINK_USED)
        if len(self._links) >= MOST_LINKS:
            raise ApplicationError(f"At most {MOST_LINKS} links of a Run are opened.", type=LINK_USED)

    def open_link(self, opened: OpenedLink) -> None:
        """Note that a link was used."""
        self._links.add(opened.link)

    def end(self, handoff_id: str, end: HandoffEnd) -> None:
        """End an open Handoff; nothing happens to one that has ended."""
        if handoff_id in self._open:
            self._ends[handoff_id] = end
            self._asked[handoff_id] = self._asked[handoff_id].model_copy(update={"status": end.status})
            self._publish()

    def take_back(self, ended: HandoffAnswer) -> None:
        """End a Handoff for its Attempt. If it is not there yet, as its question was overtaken, it ends as it comes."""
        if ended.id in self._asked:
            self.end(ended.id, ended.end)
        else:
            self._ends[ended.id] = ended.end

    def withdraw(self) -> None:
        """Withdraw the open Handoffs."""
        for handoff_id in self._open:
            self.end(handoff_id, HandoffEnd(status=HandoffStatus.WITHDRAWN))

    @property
    def _open(self) -> dict[str, Handoff]:
        return {each.id: each for each in self._asked.values() if each.is_open}

    def _publish(self) -> None:
        """Show the last ones in the memo, and by the search attribute whether any is open."""
        kinds = {each.kind.value for each in self._open.values()}
        was_open = workflow.info().typed_search_attributes.get(HANDOFF)
        kind = min(kinds, default=None)
        if kind != was_open:
            change = HANDOFF.value_unset() if kind is None else HANDOFF.value_set(kind)
            workflow.upsert_search_attributes([change])  # pyright: ignore[reportUnknownMemberType]  # the SDK's own type
        shown = [each.model_dump(mode="json") for each in self._asked.values()]
        open_ones = [each for each in shown[:-MOST_SHOWN] if each["status"] == HandoffStatus.OPEN]
        workflow.upsert_memo({names.MEMO_HANDOFFS: [*open_ones, *shown[-MOST_SHOWN:]]})
