"""The live view of an Attempt's browser: how an api asks the Attempt's worker for it."""

from __future__ import annotations

from callboard.schemas.workflow.base import FlowModel


class DialInput(FlowModel):
    """The input of the workflow `DialLive` and of its activity: where the worker finds who wants to watch."""

    project: str
    run_id: str
    number: int
    worker: str
    """Name of the worker that executes the Attempt."""
    address: str
    """URL at which workers reach the api process that has the view."""
    view: str
    """Id of the view in that process."""
