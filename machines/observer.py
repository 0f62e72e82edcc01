"""What a worker hears of its Machines as they come and go, for instance to count them."""

from __future__ import annotations

from enum import StrEnum


class RecycleCause(StrEnum):
    """Why a Machine is gone."""

    IDLE = "idle"
    """It had no work for as long as the settings allow."""
    ATTEMPTS = "attempts"
    """It has executed as many Attempts as the settings allow."""
    AGE = "age"
    """It has become as old as the settings allow."""
    VERSION = "version"
    """Its place was needed for a version of its project that wants another browser or memory."""
    ROOM = "room"
    """Its place was needed for another project."""
    STOPPED = "stopped"
    """Its Attempt was to be stopped, and something of it was left for too long."""
    LOST = "lost"
    """Its process has ended while nobody expected that."""
    UNFIT = "unfit"
    """It could not be cleaned up for another Attempt."""
    SURPLUS = "surplus"
    """The worker may have fewer Machines, or leaves."""


class MachineObserver:
    """Whoever hears of Machines; this one does not care. What it does must be quick, and must not raise."""

    def started(self, project: str, /) -> None:
        """Hear that a Machine is up."""

    def recycled(self, project: str, cause: RecycleCause, /) -> None:
        """Hear that a Machine is about to be gone."""
