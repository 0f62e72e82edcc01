"""The live view of an Attempt's browser: how an api asks the Attempt's worker for it, and for hands on the page."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from callboard.schemas.workflow.base import FlowModel, OpenStrEnum


class DialInput(FlowModel):
    """The input of the workflow `DialLive` and of its activity: where the worker finds who wants to watch."""

    project: str
    run_id: str | None
    """None: the worker is to try the way to the api alone."""
    number: int
    worker: str
    """Name of the worker that executes the Attempt."""
    address: str
    """URL at which workers reach the api process that has the view."""
    view: str
    """Id of the view in that process."""


class DialOutcome(FlowModel):
    """What became of it."""

    is_connected: bool
    """Whether the worker shows the Attempt there. It does not if the Attempt is not there (any more, or yet)."""
    problem: str | None = None
    """Why the way does not work, and what to do, if that is why; for people."""


class LiveHolder(FlowModel):
    """Somebody who has, or wants, the hands on a browser."""

    id: str
    """Id of the key or of the session; nobody else has it."""
    name: str
    """Who that is for others."""
    handoff: str | None = None
    """Id of the Handoff by whose link it is somebody who may have the browser as long as that is open, and no longer;
    None: by a key or a session."""


class LiveState(FlowModel):
    """What a person has to know beside the pictures."""

    holder: LiveHolder | None
    """Who has the hands on the browser."""
    asks: dict[str, Any] | None = Field(repr=False)
    """What the page asks that no picture shows (docs/contract.md, section 13.10), as the Machine tells it."""


class LiveAction(OpenStrEnum):
    """What somebody wants of the browser."""

    TAKE = "take"
    GIVE = "give"
    INPUT = "input"
    """Something is done to its page."""


class LiveOrder(FlowModel):
    """What somebody wants of the browser, and who."""

    id: int
    by: LiveHolder
    action: LiveAction
    events: list[dict[str, Any]] = Field(default_factory=list[dict[str, Any]], repr=False)
    """What is done to the page (docs/contract.md, section 13.10)."""


class LiveOutcome(OpenStrEnum):
    """What became of an order."""

    DONE = "done"
    HELD = "held"
    """Another one has the hands on the browser."""
    NOT_HELD = "not-held"
    """Who has ordered it has not the hands on the browser (any more)."""
    REFUSED = "refused"
    """Nobody can have this browser, or not now."""
    NOT_TAKEN = "not-taken"
    """The page has taken no event in time, or is gone."""


class LiveAnswer(FlowModel):
    """What became of an order."""

    outcome: LiveOutcome
    id: int = 0
    """Id of the order."""
    holder: str | None = None
    """The name of who has the hands on the browser, if that is why not."""
    reason: str | None = None
    """Why nobody can have it, as a sentence."""
