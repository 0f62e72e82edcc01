"""The levels of isolation: how many walls stand around the Machines of a worker, and around packages of projects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from callboard.machines.box import box_refusal
from callboard.machines.network import network_refusal
from callboard.schemas.errors import ConfigurationError


class Level(StrEnum):
    """How far Machines are isolated."""

    FULL = "full"
    OPEN = "open"
    NONE = "none"


_MEANING = {
    # There, rules decide what user code and pages may reach.
    Level.FULL: "each Machine is boxed and has a network of its own",
    Level.OPEN: "each Machine is boxed, but user code and pages reach whatever this host reaches",
    Level.NONE: "no wall stands, and user code may do whatever the worker's user may",
}


@dataclass(frozen=True)
class Isolation:
    """The level at which a worker isolates its Machines."""

    level: Level
    missing: str | None = None
    """Why this host does not allow the level `full`, as the end of a sentence; None if it does, or nobody has asked."""

    def __str__(self) -> str:
        why = f" ({self.missing or 'CALLBOARD_ISOLATION says so'})" if self.level is not Level.FULL else ""
        return f"{self.level}: {_MEANING[self.level]}{why}"


def find_isolation(
    wanted: str | None,
    *,
    box_refusal: Callable[[], str | None] = box_refusal,
    network_refusal: Callable[[], str | None] = network_refusal,
) -> Isolation:
    """Return the wanted level or, if none is wanted, the best one that this host allows. This call blocks.

    The two functions say why a box, and why a network of its own, cannot be made.

    Raises:
        ConfigurationError: A wall of the wanted level cannot stand here; or none is wanted, and no box can be made.
    """
    if wanted == Level.NONE:
        return Isolation(Level.NONE)
    if (why := box_refusal()) is not None:
        raise ConfigurationError(
            f"This host allows no box for Machines: {why}. Give the worker what is missing, as "
            "docs/isolation.md says. To do without any wall, set CALLBOARD_ISOLATION to none: then the code of each "
            "project may do whatever the worker's user may."
        )
    if wanted == Level.OPEN:
        return Isolation(Level.OPEN)
    if (why := network_refusal()) is None:
        return Isolation(Level.FULL)
    if wanted == Level.FULL:
        raise ConfigurationError(
            f"CALLBOARD_ISOLATION is full, and Machines can have no network of their own here: {why}. Give the worker "
            "what is missing, as docs/isolation.md says, or set CALLBOARD_ISOLATION to open."
        )
    return Isolation(Level.OPEN, f"Machines can have no network of their own here: {why}")
