"""How an Attempt goes that is a part of something larger: a check, and the Attempt after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from activities.announcement import Word
from activities.logins import Login
from activities.ticket import Ticket
from contract.flow.attempt import AttemptOutcome
from machines.order import Version
from projects.manifest import Manifest


@dataclass
class Known:
    """What an Attempt has found out that another of the same project and version need not."""

    manifest: Manifest | None = None
    version: Version | None = None
    login: Login | None = None


@dataclass
class Course:
    """Of one of them. Without any of it, as an Attempt goes by itself."""

    within: Ticket | None = None
    """Stopping that stops it."""
    words: Sequence[Word] | None = None
    """Who is told that it is on a Machine, once it has been for a moment; None: its Run."""
    since: datetime | None = None
    """When it was queued; None: with its activity."""
    known: Known = field(default_factory=Known)
    followed: bool = False
    """If it ends well, another one follows at once."""
    on_good: Callable[[AttemptOutcome], None] | None = None
    """Told that it has completed, before what it leaves is stored."""
