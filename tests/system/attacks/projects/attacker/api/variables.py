"""Looks for environment variables that were not given to it, keeps its own wherever it can, and looks again.

Values have a marker in them. It is written in two parts here, so that this file is not found.
"""

import ctypes
import os
from pathlib import Path

MARK = b"marked-" + b"variable-"


def found():
    seen = {}
    for name, value in os.environ.items():
        if MARK in value.encode():
            seen[name] = value
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if MARK in path.read_bytes():
                seen[str(path.parent.name)] = "in the environment of a process"
        except OSError:
            pass
    return seen


async def automation(page, params, **_):
    before = found()
    for name, value in list(before.items()):
        os.environ[f"KEPT_{name}"] = value
        ctypes.CDLL(None).setenv(f"KEPT_TOO_{name}".encode(), value.encode(), 1)
        for place in ("/tmp", "/dev/shm", os.environ["HOME"], "."):
            try:
                Path(place, "kept").write_text(value)
            except OSError:
                pass
    kept = []
    for place in ("/tmp", "/dev/shm", os.environ["HOME"], "."):
        if params.get("look") and Path(place, "kept").exists():
            kept.append(place)
    return {"found": before, "kept": [] if before else kept}
