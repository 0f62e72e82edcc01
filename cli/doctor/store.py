"""A check that the artifact store keeps what is written to it."""

from __future__ import annotations

from cli.doctor.findings import Finding, failed, ok
from schemas.errors import ConfigurationError, StoreError
from settings import Settings
from storage.factory import open_store
from storage.store import Store


async def check_artifact_store(settings: Settings) -> tuple[Finding, Store | None]:
    """Check that the store can write, read and remove an object, and return the store if it can."""
    location = settings.artifact_location
    try:
        store = open_store(location, endpoint=settings.artifacts_endpoint)
        await store.check()
    except ConfigurationError as error:
        return failed(
            "Artifact store", error.message, "Set CALLBOARD_ARTIFACTS as described in docs/operations.md."
        ), None
    except StoreError as error:
        if location.lower().startswith("s3://"):
            fix = (
                "Check CALLBOARD_ARTIFACTS, CALLBOARD_ARTIFACTS_ENDPOINT, the credentials (AWS_…), and their"
                " permissions: list the bucket; read, write and delete objects below check/."
            )
        else:
            fix = "Make the folder writable for this user, or set CALLBOARD_ARTIFACTS to another one or to s3://bucket/prefix."
        return failed("Artifact store", error.message, fix), None
    return ok("Artifact store", f"{location}: an object was written, read and removed"), store
