"""What one Attempt is to leave in addition to its outcome: in which folder, and what its Machine has told about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schemas.workflow.trace import TraceMode

SCREENSHOT = "screenshot.png"
TRACE = "trace.zip"
"""Names of the screenshot and the trace in the folder."""


@dataclass(eq=False)
class Evidence:
    """The trace and screenshot of one Attempt.

    Its Machine fills this in, whatever becomes of the Attempt and of the Machine.
    """

    folder: Path
    """Folder on this host for the files. It is not in the Machine's scratch folder, which is gone with the Machine."""
    trace: TraceMode = TraceMode.NEVER
    trace_limit: int = 64 * 1024 * 1024
    """Most bytes that a trace which is kept may have."""
    project_root: str | None = None
    """The copy of the project that the Attempt runs in; None before the Attempt has begun."""
    reported: bool = False
    """Whether the Machine has said what it left. If not, the Machine was ended before it could."""
    page_url: str | None = field(default=None, repr=False)
    """Address of the page that the automation was at when it ended, as the browser has it."""
    missing: dict[str, str] = field(default_factory=dict[str, str], repr=False)
    """What the Machine was to leave and could not: by name, a sentence that says why. Not masked."""

    def to_message(self) -> dict[str, Any]:
        """Return the part of the Attempt's message that tells the Machine what to leave."""
        return {"folder": str(self.folder), "trace": self.trace, "limit": self.trace_limit}

    def record_report(self, message: dict[str, Any]) -> None:
        """Take note of the Machine's message about what it has left."""
        self.reported = True
        self.page_url = message["pageUrl"]
        self.missing.update(message["missing"])
