"""Bring the files that an Attempt has left onto this host. Their names are those of user code, or of a website."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

from callboard.cli.api_client import ApiClient
from callboard.cli.output import open_output
from callboard.schemas.errors import BadRequest


def download_files(target: ApiClient, attempt_path: str, files: list[dict[str, Any]], folder: Path) -> list[Path]:
    """Write files of an Attempt below `folder`, which is made, under their names, and return where they are.

    Raises:
        BadRequest: A name leads out of the folder, or a file cannot be written there.
        CallboardError: As `ApiClient.request`.
    """
    written: list[Path] = []
    for file in files:
        path = folder / file["name"]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not path.resolve().is_relative_to(folder.resolve()):
                raise BadRequest(f"{path} is not below {folder}, so it was not written.")
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadRequest(f"{path.parent} cannot be made: {error.strerror}.") from error
        with tempfile.TemporaryFile() as copy:  # If it cannot be had, a file of this name stays as it is.
            target.download(f"{attempt_path}/files/{quote(file['name'])}", copy)
            copy.seek(0)
            with open_output(path) as out:
                shutil.copyfileobj(copy, out)
        written.append(path)
    return written
