"""Exceptions that user code raises to say whether another Attempt may help, and those of a question to a person."""

from __future__ import annotations

from datetime import timedelta

from intuned_runtime import NonRetryableError

LONGEST_WAIT = 86_400
"""Most seconds until the next Attempt."""


class NotRetryable(NonRetryableError):
    """Raise it when no further Attempt can help: the Run fails at once."""


class RetryLater(Exception):
    """Raise it when another Attempt may help after a while. This one has failed, and counts.

    Args:
        seconds: How long the Run waits, as a number of seconds or a timedelta, up to 24 hours.

    Raises:
        ValueError: It is none of these.
    """

    seconds: float = 0
    """A subclass that does not call `__init__` asks for no wait."""

    def __init__(self, seconds: float | timedelta) -> None:
        super().__init__(seconds)
        value = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
        # User code may give anything.
        is_number = isinstance(value, int | float)  # pyright: ignore[reportUnnecessaryIsInstance]
        if not is_number or isinstance(value, bool) or not 0 <= value <= LONGEST_WAIT:
            raise ValueError(f"RetryLater takes a number of seconds from 0 to {LONGEST_WAIT}, or such a timedelta")
        self.seconds = value

    def __str__(self) -> str:
        return f"another Attempt may help in {self.seconds:g} seconds"


class HandoffTimeout(Exception):
    """Nobody has answered in time."""


class HandoffDeclined(Exception):
    """A person has declined to answer; the message is the reason, as far as there is one."""


class HandoffUnavailable(Exception):
    """No question can be asked now; the message says why: too many are open, for example."""
