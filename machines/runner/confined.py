"""Start a program that can do no more than it needs, by Landlock and by a filter of system calls.

    confined.py WALLS COMMAND…        WALLS is JSON of a `landlock.Walls`

This script uses the standard library alone.
"""

from __future__ import annotations

import importlib
import json
import os
import sys


def main() -> None:
    """Start the program; see the module's docstring."""
    walls, *command = sys.argv[1:]
    sys.path.append(os.path.dirname(__file__))  # noqa: PTH120  # `-I` leaves the script's own folder out
    importlib.import_module("landlock").restrict(json.loads(walls))
    importlib.import_module("system_calls").forbid_in_box()
    os.execv(command[0], command)  # noqa: S606  # there is no shell, on purpose


if __name__ == "__main__":
    main()
