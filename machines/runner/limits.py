"""Hear from the keeper that the Machine uses more than it may.

The keeper then gives the supervisor a moment to end user code and to save what the Attempt leaves. After that it ends
the Machine.
"""

from __future__ import annotations

import asyncio
import json
import socket

_MESSAGE = 4096
"""Bytes that are enough for the keeper's one message."""


class Limits:
    """The limits of this Machine, as far as one was passed."""

    def __init__(self, keeper: socket.socket) -> None:
        """Listen to the keeper, on the socket that the log's lines are sent over."""
        self._keeper = keeper
        self._noticed = asyncio.Event()
        self.passed: str | None = None
        """Name of the limit that was passed; None if none was."""
        self.used = 0
        """How much of it was used."""
        asyncio.get_running_loop().add_reader(keeper, self._read)

    async def noticed(self) -> None:
        """Wait until a limit was passed."""
        await self._noticed.wait()

    def close(self) -> None:
        """Listen no more."""
        asyncio.get_running_loop().remove_reader(self._keeper)

    def _read(self) -> None:
        try:
            data = self._keeper.recv(_MESSAGE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:  # the keeper is gone, and nothing is left for long
            self.close()
            return
        said = json.loads(data)
        self.passed, self.used = str(said["limit"]), int(said["used"])
        self._noticed.set()
