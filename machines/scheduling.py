"""How processes of Machines share the processors with the worker. Standard library alone, as keepers need it."""

from __future__ import annotations

import contextlib
import os


def give_way() -> None:
    """Let this process and all below it interrupt no other that runs: worker, api and Temporal go on at once.

    The many processes of browsers wake each other with every message. Where they cannot take each other's processor for
    it, several messages are handled in one go. What they get in all stays the same, and an idle processor is taken at
    once.
    """
    with contextlib.suppress(OSError):  # forbidden here: all is a little slower
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
