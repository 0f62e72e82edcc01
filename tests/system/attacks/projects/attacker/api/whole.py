"""Returns what its workspace holds, with a hash of each file, and what lies beside the project."""

import hashlib
import os
from pathlib import Path


async def automation(page, params):
    here = Path.cwd()
    found = {
        str(path.relative_to(here)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(here.rglob("*"))
    }
    beside = {place: sorted(os.listdir(os.environ[place])) for place in ("HOME", "TMPDIR")}
    return {"project": found, "beside": beside, "links": [str(path) for path in here.rglob("*") if path.is_symlink()]}
