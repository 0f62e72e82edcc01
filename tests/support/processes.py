"""What processes are, told of any process: also of one that ends while it is looked at."""

from __future__ import annotations

from pathlib import Path

import psutil


def command_line(process: psutil.Process) -> list[str]:
    """Return the command line; an empty one if the process has ended."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def program(process: psutil.Process) -> str:
    """Return the name of the file that the process executes; an empty one if it has ended."""
    try:
        return Path(process.exe()).name
    except psutil.NoSuchProcess:
        return ""


def find_child(module: str, data: Path) -> psutil.Process:
    """Return our child that runs this module of Callboard with this data folder.

    Raises:
        LookupError: There is none.
    """
    for child in psutil.Process().children():
        if command_line(child)[-2:] == ["-m", module] and child.environ().get("CALLBOARD_DATA_DIR") == str(data):
            return child
    raise LookupError(module)


def find_temporal(data: Path) -> psutil.Process:
    """Return our child that is the Temporal server of this data folder.

    Raises:
        LookupError: There is none.
    """
    for child in psutil.Process().children():
        if str(data / "temporal.db") in command_line(child):
            return child
    raise LookupError("temporal")
