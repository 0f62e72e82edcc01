"""Match a pattern of user code, in a process of its own: no engine bounds the time of all patterns."""

from __future__ import annotations

import asyncio
import json
import sys

from callboard.schemas.errors import Unavailable

_MATCH_WITHIN = 2
"""Seconds of a processor that a pattern gets."""
_MATCH_MEMORY = 256 * 1024 * 1024
"""Bytes of memory that it gets: a pattern may ask for as many steps to be remembered as it likes."""
_TRIED_WITHIN = 30.0
"""Seconds after which a host that has no processor for it is busy."""
_PROGRAM = """
import json, re, resource, sys
pattern, text, whole, seconds, memory = json.load(sys.stdin)
resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
found = re.fullmatch(pattern, text) if whole else next(filter(lambda each: each[0], re.finditer(pattern, text)), None)
print(json.dumps(found and found[0]))
"""
_AT_ONCE = asyncio.Semaphore(2)
"""How many patterns are tried at the same time."""


async def matches(pattern: str, text: str) -> bool:
    """Tell whether a pattern matches a whole text. One that takes too much time or memory does not.

    Raises:
        Unavailable: This host is too busy to try.
    """
    return await _find(pattern, text, whole=True) is not None


async def first_match(pattern: str, text: str) -> str | None:
    """Return the first match of a pattern in a text that is not empty; None if there is none.

    Raises:
        Unavailable: As for `matches`.
    """
    return await _find(pattern, text, whole=False)


async def _find(pattern: str, text: str, *, whole: bool) -> str | None:
    order = json.dumps([pattern, text, whole, _MATCH_WITHIN, _MATCH_MEMORY])
    async with _AT_ONCE:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", "-c", _PROGRAM),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={},
        )
        try:
            async with asyncio.timeout(_TRIED_WITHIN):
                told, _ = await process.communicate(order.encode())
        except TimeoutError:
            raise Unavailable("This host is too busy to look at the answer. Send it again.") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    return json.loads(told) if process.returncode == 0 else None
