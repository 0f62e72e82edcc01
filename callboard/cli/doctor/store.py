"""A check that the artifact store keeps what is written to it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from callboard.cli.doctor.findings import Finding, failed, ok, warning
from callboard.schemas.errors import ConfigurationError, StoreError
from callboard.settings import Settings
from callboard.storage.factory import open_store


async def check_artifact_store(settings: Settings) -> Finding:
    """Check that the store can write, read and remove an object.

    A folder that does not exist yet is not created: the check is of what is there.
    """
    location = settings.artifact_location
    try:
        store = open_store(location, endpoint=settings.artifacts_endpoint)
        if not settings.keeps_artifacts_in_bucket and await asyncio.to_thread(_can_be_created, Path(location)):
            fix = "A deploy creates it. To use another store, set CALLBOARD_ARTIFACTS."
            return warning("Artifact store", f"{location}: the folder does not exist yet", fix)
        await store.check()
    except ConfigurationError as error:
        return failed("Artifact store", error.message, "Set CALLBOARD_ARTIFACTS as described in docs/configure.md.")
    except StoreError as error:
        if location.lower().startswith("s3://"):
            fix = (
                "Check CALLBOARD_ARTIFACTS, CALLBOARD_ARTIFACTS_ENDPOINT, the credentials (AWS_…), and their"
                " permissions: list the bucket; read, write and delete objects below check/."
            )
        else:
            fix = "Make the folder writable for this user, or set CALLBOARD_ARTIFACTS to another one or to s3://bucket/prefix."
        return failed("Artifact store", error.message, fix)
    return ok("Artifact store", f"{location}: an object was written, read and removed")


def _can_be_created(folder: Path) -> bool:
    """Tell whether a folder does not exist, and this user may create it."""
    folder = folder.expanduser().absolute()
    nearest = next(each for each in (folder, *folder.parents) if os.access(each, os.F_OK))
    return nearest != folder and nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
