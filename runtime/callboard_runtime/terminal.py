"""A question of user code on the terminal of its author, where `callboard run` calls it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
import termios
from collections.abc import Generator, Mapping

_STDIN = 0
_turn = asyncio.Lock()
"""Whose question is on the terminal: one at a time."""


async def ask_on_terminal(question: Mapping[str, str]) -> str:
    """Ask, and return how that ended, as a worker tells it: JSON with `status`, and `values` or `reason`.

    An end of the input (Ctrl-D) declines. What does not match the pattern is asked for again. Where no value is asked
    for, as the browser is handed over, Enter says that the person is done.
    """
    name, pattern = question.get("name"), question.get("pattern")
    try:
        async with asyncio.timeout(float(question["timeout"])), _turn:
            sys.stderr.write(f"{question['instructions']}\n")
            while True:
                # What is typed as soon as the prompt is there must be hidden, too.
                with _without_echo() if question.get("masked") == "true" else contextlib.nullcontext():
                    sys.stderr.write(f"{name or 'Press Enter when you are done'}: ")
                    sys.stderr.flush()
                    line = await _read_line()
                if not line:
                    sys.stderr.write("\n")
                    return json.dumps({"status": "declined", "reason": "the input has ended"})
                value = line.rstrip("\r\n")
                if not pattern or re.fullmatch(pattern, value):
                    return json.dumps({"status": "completed", "values": {name: value} if name else {}})
                sys.stderr.write(f"Expected a text that matches {pattern}\n")
    except TimeoutError:
        sys.stderr.write("\n")
        return json.dumps({"status": "expired"})


async def _read_line() -> str:
    """Return a line of the standard input; an empty text at its end. Nothing waits for it in a thread."""
    loop = asyncio.get_running_loop()
    line = b""
    while not line.endswith(b"\n"):
        ready = asyncio.Event()
        try:
            loop.add_reader(_STDIN, ready.set)
        except PermissionError:  # it is a file, which is always ready
            ready.set()
        try:
            await ready.wait()
        finally:
            loop.remove_reader(_STDIN)
        if not (byte := os.read(_STDIN, 1)):
            break
        line += byte
    return line.decode(errors="replace")


@contextlib.contextmanager
def _without_echo() -> Generator[None]:
    """Have the terminal not show what is typed, if the input is one."""
    if not os.isatty(_STDIN):
        yield
        return
    before = termios.tcgetattr(_STDIN)
    silent = [*before]
    silent[3] &= ~termios.ECHO
    termios.tcsetattr(_STDIN, termios.TCSADRAIN, silent)
    try:
        yield
    finally:
        termios.tcsetattr(_STDIN, termios.TCSADRAIN, before)
        sys.stderr.write("\n")
