"""Read the stack that a process of user code has told by `faulthandler`: on a signal, or as it crashed.

What is read was written by a process of user code, and may be anything.
"""

from __future__ import annotations

import linecache
import re
import traceback
from pathlib import Path

from .failures import shown

_THREAD = re.compile(r"^(?:Current thread|Thread|Stack) [^\n]*\(most recent call first\):\n", re.MULTILINE)
_FRAME = re.compile(r'  File "([^"\n]*)", line (\d+) in ([^\n]*)\n')


def stack_told(dump: bytes, root: Path, project: Path) -> str:
    """Return the last stack in `dump` in the form of a traceback; empty if it does not lead through the project.

    Args:
        dump: What the process has written.
        root: The copy of the project that it runs in.
        project: The folder that the copy is of. Lines of source are taken from there, as user code may have put
            anything into its copy.
    """
    text = dump.decode(errors="replace")
    told = text[[match.end() for match in _THREAD.finditer(text)][-1] :] if _THREAD.search(text) else ""
    frames: list[traceback.FrameSummary] = []
    at = 0
    while (match := _FRAME.match(told, at)) is not None:
        at = match.end()
        path, line, function = match[1], int(match[2]), match[3]
        source = _source(path, line, root, project)
        frames.append(traceback.FrameSummary(path, line, function, lookup_line=False, line=source))
    return shown(traceback.StackSummary.from_list(frames[::-1]), root)


def _source(path: str, line: int, root: Path, project: Path) -> str:
    if not path.startswith(f"{root}/") or ".." in Path(path).parts:
        return ""
    return linecache.getline(str(project / Path(path).relative_to(root)), line)
