"""How times are written in JSON that Callboard makes itself."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_text(at: datetime) -> str:
    """Return a time in UTC, in milliseconds, as ISO 8601 text."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
