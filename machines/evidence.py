"""What one Attempt is to leave beside its outcome: into which folder, and what its Machine has told of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schemas.workflow.trace import TraceMode

SCREENSHOT = "screenshot.png"
TRACE = "trace.zip"
"""Their names in the folder, and in the artifact store."""


@dataclass(eq=False)
class Evidence:
    """Made for one Attempt; its Machine fills it in, whatever becomes of the Attempt and of the Machine."""

    folder: Path
    """On this host, and not in the Machine's scratch, which is gone with the Machine."""
    trace: TraceMode = TraceMode.NEVER
    limit: int = 64 * 1024 * 1024
    """Bytes of the trace that are kept."""
    root: str | None = None
    """The copy of the project that the Attempt runs in; None before it has begun."""
    told: bool = False
    """Whether the Machine has said what it left. If not, it was ended before it could."""
    page_url: str | None = field(default=None, repr=False)
    """Of the automation's page at its end, as the browser has it."""
    missing: dict[str, str] = field(default_factory=dict[str, str], repr=False)
    """What the Machine was to leave and could not, by name: a sentence why. Not masked."""

    def wanted(self) -> dict[str, Any]:
        """What the Machine is told."""
        return {"folder": str(self.folder), "trace": self.trace, "limit": self.limit}

    def hear(self, message: dict[str, Any]) -> None:
        """The Machine tells what it has left."""
        self.told = True
        self.page_url = message["pageUrl"]
        self.missing.update(message["missing"])
