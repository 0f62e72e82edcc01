"""Jobs and AuthSessions that are files of a project, as a deploy stores them beside the version.

They are stored unsealed, like the settings file: parameters of AuthSessions and keys of sinks are among them.
Everything below `projects/` has credentials of its own.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from callboard.projects.manifest import Stored, parse_stored
from callboard.storage import keys
from callboard.storage.store import Store


class JobFile(Stored):
    """A Job that is a file of the project."""

    id: str
    file: str
    """Path of the file below the project folder."""
    body: dict[str, Any] = Field(repr=False)
    """The content of the file: what an update of a Job is sent over REST."""


class AuthSessionFile(Stored):
    """An AuthSession that is a file of the project."""

    id: str
    file: str
    """Path of the file below the project folder."""
    parameters: dict[str, Any] = Field(repr=False)
    """What `auth-sessions/create.py` logs in with."""


class Resources(Stored):
    """All such files, stored as `projects/{project}/versions/{version}/resources.json`.

    Files of AuthSessions are in no bundle and do not make another version. So a deploy may replace this artifact of a
    version, unlike the others.
    """

    jobs: tuple[JobFile, ...] = ()
    auth_sessions: tuple[AuthSessionFile, ...] = ()

    def __bool__(self) -> bool:
        """Tell whether there is any file."""
        return bool(self.jobs or self.auth_sessions)


async def read_resources(store: Store, project: str, version: str) -> Resources:
    """Return the Jobs and AuthSessions of a version's files.

    Raises:
        StoreError: The store failed, or the artifact is damaged.
    """
    return parse_stored(Resources, project, await store.get(keys.resources(project, version))) or Resources()
