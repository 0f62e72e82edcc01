"""From the location of an artifact store, as the settings give it, to the store."""

from __future__ import annotations

import re
from pathlib import Path

from contract.errors import NotSupported
from storage.folder import FolderStore
from storage.store import Store

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def open_store(location: str) -> Store:
    """The store at `location`, a folder that need not exist yet.

    Raises NotSupported for an address with a scheme: this version keeps artifacts in a folder only.
    """
    if scheme := _SCHEME.match(location):
        raise NotSupported(
            f"Artifacts cannot be kept at {scheme.group()}…: this version of Callboard keeps them in a folder. "
            "Set CALLBOARD_ARTIFACTS to the path of one."
        )
    return FolderStore(Path(location).expanduser().absolute())
