"""Try whether a wall can stand on this host: start a program that builds it, and ends."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence

_WITHIN = 30.0
"""Seconds that a trial may take. It takes a tenth of one, but a cold disk can make the first start slow."""
_CLIP = 300
"""Most characters that are quoted of what a trial printed."""


def trial_refusal(command: Sequence[str], environment: Mapping[str, str]) -> str | None:
    """Run the program to its end. Return why it has failed, as the end of a sentence, or None. This blocks.

    Args:
        command: The program and its arguments. It prints in its last line what does not work.
        environment: All of its environment. Ours holds secrets, which other processes of this user could read there.
    """
    try:
        done = subprocess.run(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_WITHIN,
            check=False,
        )
    except OSError as error:
        return f"{command[0]} does not start: {error.strerror or error}"
    except subprocess.TimeoutExpired:
        return f"{command[0]} does not end within {_WITHIN:g} seconds"
    if done.returncode == 0:
        return None
    printed = f"{done.stderr}\n{done.stdout}".strip().splitlines()
    return (printed or [f"{command[0]} ended with {done.returncode} and printed nothing"])[-1][:_CLIP]
