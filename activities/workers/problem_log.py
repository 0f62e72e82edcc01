"""Log a problem once, and not again at each retry that meets it."""

from __future__ import annotations

import logging


class ProblemLog:
    """The current problems. Each is logged as a warning when it comes up or changes."""

    def __init__(self, log: logging.Logger, what: str) -> None:
        """Start without a problem. `what` is what problems prevent, as the middle of a sentence."""
        self._log = log
        self._what = what
        self._problems: dict[str, str] = {}

    def note(self, about: str, problem: str | None) -> None:
        """Note the current problem with a subject; None once it is over."""
        if problem is None:
            self._problems.pop(about, None)
        elif self._problems.get(about) != problem:
            self._problems[about] = problem
            self._log.warning("%s: %s: %s", about, self._what, problem)
