"""An Inbox: the codes that have come for one addressee of a project, and the questions that wait for one.

See docs/contract.md, section 22.1.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import Field

from callboard.schemas.workflow.base import FlowModel

KEPT_FOR = timedelta(minutes=10)
"""How long a code is kept that no question has taken."""
MOST_CODES = 10
"""How many codes an Inbox keeps: the newest ones."""
MOST_WAITS = 200
"""How many questions wait at an Inbox: the last ones. Some of them may have ended, which only a code finds out."""


class PushedCode(FlowModel):
    """What the signal `push_code` brings."""

    id: str
    content: str = Field(repr=False)
    """What has come, sealed for this id."""


class CodeWait(FlowModel):
    """What the signal `wait_for_code` brings: an open Handoff that a code may answer."""

    handoff_id: str
    field: str
    """Name of the value that is asked for."""
    pattern: str | None
    """What is taken of a code: its first match; None for all of it."""
    since: datetime
    """Codes that came before do not count."""
    until: datetime
    """When the Handoff has ended at the latest."""


class KeptCode(FlowModel):
    """A code that nobody has taken yet."""

    code: PushedCode
    at: datetime
    """When it came."""
    tried: tuple[str, ...] = ()
    """Ids of the Handoffs that it is nothing for."""


class InboxInput(FlowModel):
    """The input of the workflow `Inbox`."""

    workspace: str
    project: str
    codes: tuple[KeptCode, ...] = ()
    """Those that it goes on with, the oldest first."""
    waits: tuple[CodeWait, ...] = ()
    """Those that it goes on with, in the order in which they were asked."""


class GiveCodeInput(FlowModel):
    """The input of the activity `give_code`."""

    workspace: str
    project: str
    code: PushedCode
    waits: tuple[CodeWait, ...]
    """To whom it is offered, one after the other."""


class GivenCode(FlowModel):
    """What has become of a code: the result of the activity `give_code`."""

    taken_by: str | None = None
    """The id of the Handoff that it has answered; None: it is nothing for any of them."""
    closed: tuple[str, ...] = ()
    """Ids of Handoffs that had ended."""
