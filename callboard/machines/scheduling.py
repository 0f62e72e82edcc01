"""How processes of Machines share the processors with the worker.

This module uses the standard library alone, as keepers need it.
"""

from __future__ import annotations

import contextlib
import os


def give_way() -> None:
    """Keep this process and all below it from preempting others, so that worker, api and Temporal react at once.

    The many processes of a browser wake each other with every message. If they cannot preempt each other for that,
    several messages are handled in one go. Their total share of the processors stays the same, and they still use an
    idle processor at once.
    """
    with contextlib.suppress(OSError):  # where this is forbidden, everything is a little slower
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
