"""End a process that has talked to Temporal."""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn


def hard_exit(code: int) -> NoReturn:
    """End the process now, after writing out all logs and output.

    The threads of Temporal's SDK outlive its clients, and now and then one of them crashes an interpreter that is being
    taken down (seen: SIGSEGV after a clean shutdown). All that has to be closed is closed before this is called.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
