"""Observe the executions of user code by the files that they lock (tests/chaos/projects/recording.py)."""

from __future__ import annotations

import fcntl
import json
import threading
import time
from pathlib import Path
from typing import Any, Self

from tests.chaos.record import Execution

_INTERVAL = 0.02
"""Seconds between two looks. The end of an execution that was killed is known to within this time."""


class Observer:
    """A thread that looks at a folder, in which user code may write, for as long as the block lasts.

    It does not depend on what else this process does: when it comes late, an execution merely counts as ended earlier.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.executions: list[Execution] = []
        """Those that have ended."""
        self._living: dict[str, float] = {}
        """When each of the others was last seen to live."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look_again_and_again, name="observe executions")
        for name in ("unlocked", "executions"):
            (folder / name).mkdir(parents=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def living(self) -> list[str]:
        """The tokens of executions whose processes live."""
        return list(self._living)

    def _look_again_and_again(self) -> None:
        while not self._stop.wait(_INTERVAL):
            self.look()

    def look(self) -> None:
        """Look once."""
        for path in (self.folder / "executions").iterdir():
            seen = time.monotonic()
            with path.open() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    self._living[path.name] = seen
                    continue
                lines: list[dict[str, Any]] = [json.loads(line) for line in file]
            fields = {"ended": self._living.pop(path.name, lines[0]["began"])}
            for line in lines:
                fields |= line
            self.executions.append(Execution.model_validate({"token": path.name, **fields}))
            path.unlink()
