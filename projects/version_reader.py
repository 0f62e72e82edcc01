"""Reading the manifests and pointers that a deploy has written to the store."""

from __future__ import annotations

from pydantic import ValidationError

from projects.manifest import Current, Manifest
from schemas.errors import StoreError
from storage import keys
from storage.store import Store


async def read_current(store: Store, project: str) -> Current | None:
    """Return the pointer to the deployed version, or None if the project was never deployed."""
    return _parse(Current, project, await store.get(keys.current_version(project)))


async def read_manifest(store: Store, project: str, version: str) -> Manifest | None:
    """Return the manifest of a version, or None if there is no such version."""
    return _parse(Manifest, project, await store.get(keys.manifest(project, version)))


def _parse[M: Current | Manifest](model: type[M], project: str, data: bytes | None) -> M | None:
    if data is None:
        return None
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise StoreError(
            f"The {model.__name__.lower()}.json of project {project!r} in the artifact store is damaged "
            f"({where}: {first['msg']}). Deploy the project again."
        ) from error
