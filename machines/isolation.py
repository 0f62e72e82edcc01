"""The two levels of isolation: `full`, with all walls around a Machine, and `partial`, with those that stand here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from machines.box import box_refusal
from machines.network import network_refusal
from schemas.errors import ConfigurationError


class Level(StrEnum):
    """How far Machines are isolated."""

    FULL = "full"
    """Each Machine is boxed and has a network of its own, where rules decide what user code and pages may reach."""
    PARTIAL = "partial"
    """The browser goes through a filter. Connections of user code itself are not filtered."""


WALLS: Mapping[str, Callable[[], str | None]] = {
    "Machines have no boxes": box_refusal,
    "Machines have no network of their own": network_refusal,
}
"""What is missing without a wall, and the function that says why that wall cannot stand here. It blocks."""


@dataclass(frozen=True)
class Isolation:
    """The level at which a worker isolates its Machines."""

    level: Level
    missing: tuple[str, ...] = ()
    """What is missing here for the level `full`, in sentences without their period."""

    def __str__(self) -> str:
        if self.level is Level.FULL:
            return "full: each Machine is boxed and has a network of its own"
        why = "; ".join(self.missing) or "CALLBOARD_ISOLATION says so"
        return f"partial, and connections of user code itself are not filtered: {why}"


def find_isolation(wanted: str | None, walls: Mapping[str, Callable[[], str | None]] = WALLS) -> Isolation:
    """Return the level that is wanted or, if none is, the highest that is to be had here. This call blocks.

    Raises:
        ConfigurationError: The level `full` is wanted, and something is missing for it.
    """
    if wanted == Level.PARTIAL:
        return Isolation(Level.PARTIAL)
    missing = tuple(f"{what}: {why}" for what, refusal in walls.items() if (why := refusal()) is not None)
    if not missing:
        return Isolation(Level.FULL)
    if wanted == Level.FULL:
        raise ConfigurationError(
            f"CALLBOARD_ISOLATION is full, and this host does not allow it. {'. '.join(missing)}. Give the worker what "
            'is missing, as "Isolation" in docs/operations.md says, or set CALLBOARD_ISOLATION to partial.'
        )
    return Isolation(Level.PARTIAL, missing)
