"""The boxes of a Machine: one for driver and browser, one for the zygote and the user code that it is forked for.

`machines.runner.folders` says which folders of the Machine there are.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from machines.attempt_spec import Version
from machines.box import (
    Box,
    browser_folders,
    driver_program,
    has_inner_processes,
    our_folders,
    python_folders,
)
from machines.environment import certificates
from machines.runner.folders import ATTEMPT, DOWNLOADS, OF_DRIVER, TEMPORARY, WORK
from machines.runner.inner_box import InnerBox

_IN_MEMORY = 4
"""Part of the Machine's memory that files in temporary folders of user code may take in addition."""


@dataclass(frozen=True)
class Boxes:
    """What stands around the processes of one Machine."""

    driver: Box
    user: Box
    inner: InnerBox
    """What each process of user code has in addition."""

    @classmethod
    def of(
        cls,
        version: Version,
        scratch: Path,
        browser: Path,
        display: dict[str, str],
        *,
        shared: tuple[Path, ...],
        resolv_conf: Path | None,
    ) -> Boxes:
        """Return the boxes of a Machine. This blocks.

        Args:
            version: What the Machine serves.
            scratch: Its scratch folder.
            browser: The browser's executable.
            display: The variables that lead the browser to a display, if it is to open windows.
            shared: Folders of the host that every project may use.
            resolv_conf: What is `/etc/resolv.conf` in the boxes, where that is not the host's.
        """
        common = (*our_folders(), *certificates())
        driver = Box(
            read=(*common, driver_program().parent, *browser_folders(browser, display)),
            write=(*(scratch / name for name in OF_DRIVER), *shared),
            resolv_conf=resolv_conf,
            temporary=scratch / TEMPORARY,
        )
        python = version.python
        environment = () if python is None else python_folders(python.executable)
        user = Box(
            read=(*common, *environment, *browser_folders(browser, {}), scratch / DOWNLOADS),
            write=(scratch / WORK, *shared),
            resolv_conf=resolv_conf,
        )
        kept = [str(path) for path in (*user.read, *shared, scratch / ATTEMPT)]
        inner = InnerBox(
            kept, [str(scratch / WORK)], version.memory_limit // _IN_MEMORY, processes=has_inner_processes()
        )
        return cls(driver, user, inner)


def driver_command(boxes: Boxes | None) -> list[str]:
    """Return the command that starts Playwright's driver, but for the driver's own arguments: in its box, if any."""
    return [*(boxes.driver.command(final=True) if boxes else ()), str(driver_program())]


def zygote_setup(boxes: Boxes | None, command: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """Return what the supervisor needs to know to start the zygote, in its box if there are boxes."""
    return {
        "command": [*(boxes.user.command(final=False) if boxes else ()), *command],
        "environment": environment,
        "innerBox": boxes and asdict(boxes.inner),
        "walls": boxes and boxes.user.walls(),
    }
