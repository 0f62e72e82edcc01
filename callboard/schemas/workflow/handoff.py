"""A Handoff: an Attempt asks a person, and what it is told (docs/contract.md, section 22).

Its question is an update of the workflow of the Run that asks, and so is the answer.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import Field

from callboard.schemas.workflow.base import FlowModel, OpenStrEnum
from callboard.schemas.workflow.sink import SealedSink

MOST_ASKED = 100
"""How many Handoffs one Run may open: each takes some events of its history."""
MOST_AT_ONCE = 4
"""How many Handoffs of one Attempt may be open at the same time: Temporal takes ten updates in flight of a workflow,
and answers need room."""
MOST_SHOWN = 10
"""How many of its last Handoffs a Run shows."""
MOST_LINKS = 100
"""How many links to its Handoffs may be opened of a Run: each takes some events of its history."""

AT_ONCE = f"An Attempt asks at most {MOST_AT_ONCE} questions at a time."
TOO_OFTEN = f"A Run asks at most {MOST_ASKED} questions."

# Types of the application failures with which a workflow refuses a Handoff.
NOT_OPEN = "HandoffNotOpen"  # the answer comes too late, or a second time
LINK_USED = "HandoffLinkUsed"  # a link counts once
NOT_TAKEN = "HandoffNotTaken"  # no Attempt runs that could ask, or its Run has asked too often


class HandoffKind(OpenStrEnum):
    """What a person is asked for."""

    INPUT = "input"
    """Values of fields."""
    BROWSER = "browser"
    """To do something in the browser of the Attempt. It has no fields."""


class HandoffStatus(OpenStrEnum):
    """Whether a Handoff waits for a person, or how it has ended (docs/contract.md, section 22)."""

    OPEN = "open"
    COMPLETED = "completed"
    DECLINED = "declined"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


class HandoffField(FlowModel):
    """A value that is asked for."""

    name: str
    pattern: str | None = None
    """A regular expression that matches the whole value."""
    secret: bool = False
    """Whether the value is masked in what the Attempt leaves."""


class HandoffRequest(FlowModel):
    """What the update `ask` brings: the question of an Attempt."""

    id: str
    kind: HandoffKind
    attempt: int
    """Number of the Attempt."""
    instructions: str
    fields: tuple[HandoffField, ...]
    timeout: timedelta
    """How long it waits for an answer."""
    sink: SealedSink | None = None
    """The webhook that is told of it; None if none is."""


class HandoffEnd(FlowModel):
    """How a Handoff has ended: what the update `ask` returns."""

    status: HandoffStatus
    values: str | None = Field(default=None, repr=False)
    """The values by field, as JSON, sealed for this Handoff; None if there are none."""
    reason: str | None = None
    """Why it was declined, as far as the person has said, or why it was withdrawn, as far as there is a reason; of one
    that no person has completed, what has."""


class HandoffAnswer(FlowModel):
    """What the update `answer` brings, and the signal `end_handoff`."""

    id: str
    end: HandoffEnd


class OpenedLink(FlowModel):
    """What the update `open_link` brings: somebody opens a Handoff by a link."""

    id: str
    link: str
    """What tells the link from others, and opens nothing."""


class Handoff(FlowModel):
    """A Handoff as the memo of its Run has it, without its answer."""

    id: str
    kind: HandoffKind
    attempt: int
    instructions: str
    fields: tuple[HandoffField, ...]
    status: HandoffStatus
    created_at: datetime
    expires_at: datetime
    is_told: bool = False
    """Whether a webhook is told of it, by a Delivery that has its id."""

    @property
    def is_open(self) -> bool:
        """Whether it waits for a person."""
        return self.status is HandoffStatus.OPEN
