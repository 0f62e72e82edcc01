"""Make what a project has of one kind agree with its files: created, updated when a file has changed, removed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from callboard.projects.manifest import Manifest
from callboard.projects.resources import AuthSessionFile, JobFile
from callboard.schemas.errors import BadRequest, Conflict, NotFound
from callboard.schemas.workflow.resources import ResourceChanges


class FileResources[File: (JobFile, AuthSessionFile), Found](ABC):
    """The resources of one kind, whose present state is a `Found`. Those that came by a request stay as they are."""

    kind: str
    """What one of them is called, with its article: `a Job`."""

    async def apply(self, manifest: Manifest, files: Sequence[File]) -> ResourceChanges:
        """Make all changes that are needed.

        Raises:
            CallboardError: Something does not answer, or cannot be sealed; repeating helps when that is mended.
        """
        created: list[str] = []
        updated: list[str] = []
        refused: list[str] = []
        for file in files:
            try:
                if (found := await self._find(manifest.project, file.id)) is None:
                    await self._create(manifest, file)
                    created.append(file.id)
                elif not self._is_from_file(found):
                    raise self._taken(file)
                elif await self._has_changed(manifest.project, file, found):
                    await self._update(manifest, file, found)
                    updated.append(file.id)
            except Conflict as error:
                refused.append(error.message)
            except BadRequest as error:
                refused.append(f"{file.file}: {error.message}")
        removed = await self._remove_others(manifest.project, {file.id for file in files})
        return ResourceChanges(
            created=tuple(created), updated=tuple(updated), removed=tuple(removed), refused=tuple(refused)
        )

    async def _remove_others(self, project: str, kept: set[str]) -> list[str]:
        removed: list[str] = []
        for resource_id in await self._list_from_files(project):
            if resource_id in kept:
                continue
            try:
                await self._delete(project, resource_id)
            except NotFound:
                continue  # Another worker has removed it, or it could not be created.
            removed.append(resource_id)
        return removed

    def _taken(self, file: File) -> Conflict:
        return Conflict(
            f"{file.file}: there is {self.kind} {file.id!r} that was created by a request. Delete that one, or rename "
            "the file, and deploy the project again."
        )

    @abstractmethod
    async def _find(self, project: str, resource_id: str) -> Found | None:
        """Return a resource as it is now; None if there is none."""

    @abstractmethod
    async def _list_from_files(self, project: str) -> Sequence[str]:
        """Return the ids of all of the project's resources of this kind that were created by files."""

    @abstractmethod
    def _is_from_file(self, found: Found) -> bool:
        """Tell whether a resource was created by a file."""

    @abstractmethod
    async def _has_changed(self, project: str, file: File, found: Found) -> bool:
        """Tell whether the file says something else than what the resource was made of."""

    @abstractmethod
    async def _create(self, manifest: Manifest, file: File) -> None:
        """Create the resource of a file. Raises Conflict if there is one by now."""

    @abstractmethod
    async def _update(self, manifest: Manifest, file: File, found: Found) -> None:
        """Make a resource what its file says."""

    @abstractmethod
    async def _delete(self, project: str, resource_id: str) -> None:
        """Delete a resource. Raises NotFound."""
