"""Who has started or canceled something: the key that the request, or the sign-in, came with."""

from __future__ import annotations

import re
from typing import Self

from callboard.schemas.workflow.base import FlowModel

_CANCELED_BY = re.compile(r"Canceled by (.*) \(([^()]*)\)", re.DOTALL)


class Actor(FlowModel):
    """A key, by its visible id and its name."""

    id: str
    name: str

    def __str__(self) -> str:
        return f"{self.name} ({self.id})"

    @property
    def start_note(self) -> str:
        """What the details of a workflow say of who has started it, in Markdown: no name has a backtick."""
        return f"Started by `{self}`"

    @property
    def cancel_reason(self) -> str:
        """What the history of a workflow says of the cancel that this one has requested."""
        return f"Canceled by {self}"

    @classmethod
    def of_cancel_reason(cls, reason: str | None) -> Self | None:
        """Return who has requested a cancel with this reason; None if it does not say."""
        match = _CANCELED_BY.fullmatch(reason or "")
        return match and cls(name=match[1], id=match[2])
