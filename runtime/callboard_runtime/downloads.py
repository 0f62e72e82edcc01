"""Keep what pages download, under the names that sites suggest, before Playwright deletes it with its context."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from playwright.async_api import Download
from playwright.async_api import Error as PlaywrightError

_LONGEST = 180
"""Most bytes of a name that are kept; file systems take 255, and a number may be added."""

_MOST_NAMED = 5
"""Most downloads that are lost by name."""


class Downloads:
    """Keeps the downloads of an Attempt in a folder, which is made for the first one."""

    def __init__(self, folder: Path, take: Callable[[Path, Path], None] | None = None) -> None:
        """Keep them in `folder`.

        `take` is given where the browser has put a download, and where it is to be kept, and has a second file there
        without moving the first, which user code may be reading. It raises FileExistsError if there is one already.
        """
        self._folder = folder
        self._take = take or _link_or_copy
        self._pending: dict[asyncio.Task[None], str] = {}
        """Downloads that are not kept yet, with their names."""
        self._numbers = Counter[str]()
        """How many downloads of each name there were."""
        self._lost: list[str] = []

    def keep(self, download: Download) -> None:
        """Keep a download as soon as it has ended."""
        name = _file_name(download.suggested_filename)
        task = asyncio.ensure_future(self._keep(download, name))
        self._pending[task] = name
        task.add_done_callback(self._pending.pop)

    @property
    def is_pending(self) -> bool:
        """Whether there are downloads that are not kept yet."""
        return bool(self._pending)

    async def wait(self, within: float, *, unless: asyncio.Event | None = None) -> None:
        """Wait until all are kept, at most `within` seconds, and not once the event is set."""
        if not self._pending:
            return
        kept = asyncio.ensure_future(asyncio.wait(set(self._pending)))
        stopped = asyncio.ensure_future((unless or asyncio.Event()).wait())
        await asyncio.wait({kept, stopped}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        kept.cancel()
        stopped.cancel()

    def end(self) -> list[str]:
        """Give up what is not kept yet. Return what is lost, for people: names and reasons, and how many more."""
        for task, name in self._pending.items():
            task.cancel()
            self._lost.append(f"{name} (a download that had not ended)")
        more = len(self._lost) - _MOST_NAMED
        return [*self._lost[:_MOST_NAMED], *([f"{more:,} more downloads"] if more > 0 else [])]

    async def _keep(self, download: Download, name: str) -> None:
        try:
            made = Path(await download.path())
            while True:
                self._numbers[name] += 1
                try:
                    await asyncio.to_thread(self._place, made, _numbered(name, self._numbers[name]))
                except FileExistsError:
                    continue
                return
        except PlaywrightError as error:
            self._lost.append(f"{name} (a download that failed: {error.message.strip().partition('\n')[0]})")
        except OSError as error:
            self._lost.append(f"{name} (a download that could not be kept: {error.strerror})")

    def _place(self, made: Path, name: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._take(made, self._folder / name)


def _link_or_copy(made: Path, kept: Path) -> None:
    try:
        os.link(made, kept, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:  # the folder is on another disk
        with made.open("rb") as begin, kept.open("xb") as end:
            shutil.copyfileobj(begin, end)


def _file_name(suggested: str) -> str:
    """Return a name that a site has suggested as one that a file can have, and that can be shown."""
    name = "".join(char if char.isprintable() and char not in "/\\" else "_" for char in suggested)
    stem, suffix = os.path.splitext(name)  # noqa: PTH122  # it is no path
    stem = stem.encode()[:_LONGEST].decode(errors="ignore")
    return stem + suffix.encode()[: _LONGEST // 4].decode(errors="ignore") if stem.strip(". ") else "download"


def _numbered(name: str, number: int) -> str:
    stem, suffix = os.path.splitext(name)  # noqa: PTH122  # it is no path
    return name if number == 1 else f"{stem}-{number}{suffix}"
