"""The logs of Callboard's own processes, which go to standard error."""

from __future__ import annotations

import logging


def configure_logging() -> None:
    """Write the log of this process, from INFO on, to standard error."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
