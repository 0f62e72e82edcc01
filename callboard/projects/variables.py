"""The environment variables of the workspace and of its projects (docs/contract.md, section 19).

In the artifact store, each is an object of its own, sealed as a whole and bound to its place: whoever can write to the
store can neither read a value, nor give it to another project, nor make a secret a plain variable. Only the api writes
them.

In `callboard dev`, user code also has those of the `.env` file of its project folder, which are never part of a
version.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

from dotenv import dotenv_values
from pydantic import BaseModel, ConfigDict, Field

from callboard.projects.settings_file import read_settings, resolve_project_name
from callboard.schemas.errors import BadRequest, ConfigurationError, ProjectError, SealError
from callboard.schemas.rest.env_vars import TOGETHER_LIMIT, SetVariable, VariableScope
from callboard.security import seal_context
from callboard.security.keyring import KeyRing
from callboard.storage import object_keys
from callboard.storage.store import Entry, Store

_CONCURRENT_READS = 16


class Variable(BaseModel):
    """An environment variable as it is stored."""

    # What cannot be read is told in the errors of Attempts, without what it is.
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    name: str
    value: str = Field(repr=False)
    secret: bool
    scopes: tuple[VariableScope, ...]
    updated_at: datetime
    updated_by: str

    @property
    def size(self) -> int:
        """Number of bytes that it counts."""
        return len(self.name) + len(self.value.encode("utf-8", "surrogatepass"))


class Variables:
    """Reads and writes environment variables. `project` is None for those of the workspace.

    An object is read again only when it was written anew, as the list of the store tells.
    """

    def __init__(self, workspace: str, store: Store, ring: KeyRing) -> None:
        self._workspace = workspace
        self._store = store
        self._ring = ring
        self._known: dict[str, tuple[str, Variable]] = {}
        """What was read under a key, with the tag that it had."""

    @classmethod
    def with_keys(cls, workspace: str, store: Store, keys: Sequence[str]) -> Variables:
        """Return the variables in a store that are sealed with one of these keys. Raises ConfigurationError."""
        return cls(workspace, store, KeyRing(keys))

    async def list(self, project: str | None) -> list[Variable]:
        """Return all variables of a project or of the workspace, sorted by name.

        Raises:
            StoreError: The store failed.
            SealError, ConfigurationError: One of them cannot be opened.
        """
        prefix = object_keys.variables(project)
        entries = [
            entry async for entry in self._store.entries(prefix) if entry.key.endswith(object_keys.VARIABLE_SUFFIX)
        ]
        there = {entry.key for entry in entries}
        for key in [key for key in self._known if key.startswith(prefix) and key not in there]:
            self._known.pop(key, None)
        limit = asyncio.Semaphore(_CONCURRENT_READS)

        async def read(entry: Entry) -> Variable | None:
            known = self._known.get(entry.key)
            if known is not None and known[0] == entry.tag:
                return known[1]
            async with limit:
                variable = await self._read(project, entry.key)
            if variable is not None and entry.tag is not None:
                # The object may be newer than the list. Then the next list has another tag, and it is read again.
                self._known[entry.key] = (entry.tag, variable)
            return variable

        found = await asyncio.gather(*(read(entry) for entry in entries))
        return [variable for variable in found if variable is not None]

    async def set(self, project: str | None, name: str, given: SetVariable, *, by: str) -> Variable:
        """Set a variable in the name of the key with the id `by`, and return it.

        Raises:
            BadRequest: The variables would be too large together.
            StoreError: The store failed.
            SealError, ConfigurationError: There is no key to seal with, or another variable cannot be opened.
        """
        variable = Variable(
            name=name,
            value=given.value,
            secret=given.secret,
            scopes=tuple(given.scopes),
            updated_at=datetime.now(UTC),
            updated_by=by,
        )
        others = [other for other in await self.list(project) if other.name != name]
        together = variable.size + sum(other.size for other in others)
        if together > TOGETHER_LIMIT:
            owner = "the workspace" if project is None else f"project {project}"
            raise BadRequest(
                f"value: with this one, the names and values of {owner} would have {together} bytes together, and "
                f"may have {TOGETHER_LIMIT}.",
                details={"path": "value", "expected": f"at most {TOGETHER_LIMIT} bytes of all variables together"},
            )
        bound_to = seal_context.variable(self._workspace, project, name)
        token = self._ring.seal(variable.model_dump_json(), bound_to=bound_to)
        # The mark comes first. So a Run that is started between the two looks for variables in vain, and none that is
        # started later overlooks this one.
        await self._store.put(object_keys.any_variable(project), b"")
        await self._store.put(object_keys.variable(project, name), token.encode("ascii"))
        return variable

    async def get(self, project: str | None, name: str) -> Variable | None:
        """Return a variable, or None if there is none. Raises what `list` raises."""
        return await self._read(project, object_keys.variable(project, name))

    async def delete(self, project: str | None, name: str) -> bool:
        """Remove a variable, also one that cannot be opened; tell whether there was one. Raises StoreError."""
        key = object_keys.variable(project, name)
        found = await self._store.exists(key)
        await self._store.delete(key)
        return found

    async def of_project(self, project: str, scope: VariableScope) -> tuple[list[Variable], list[Variable]]:
        """Return what is seen by a project in this scope: the variables of the workspace, and its own, which win.

        Raises what `list` raises.
        """
        of_workspace, own = await asyncio.gather(self.list(None), self.list(project))
        return _seen(of_workspace, scope), _seen(own, scope)

    async def _read(self, project: str | None, key: str) -> Variable | None:
        token = await self._store.get(key)
        if token is None:
            return None
        name = key.removeprefix(object_keys.variables(project)).removesuffix(object_keys.VARIABLE_SUFFIX)
        bound_to = seal_context.variable(self._workspace, project, name)
        try:
            text = self._ring.open(token.decode("ascii", "replace"), bound_to=bound_to)
        except (SealError, ConfigurationError) as error:
            owner = "the workspace" if project is None else f"project {project}"
            hint = "Delete it, or set CALLBOARD_SECRET_KEY as it was."
            raise type(error)(f"Environment variable {name} of {owner}: {error.message} {hint}") from error
        return Variable.model_validate_json(text)


def _seen(variables: Iterable[Variable], scope: VariableScope) -> list[Variable]:
    return [variable for variable in variables if scope in variable.scopes]


async def may_have_variables(store: Store, project: str, dev_projects: Path | None) -> bool:
    """Tell whether a Run of the project that is started now may ever see a variable (docs/contract.md, section 19).

    That is so once the project or the workspace has had one. In `callboard dev`, a `.env` of any of the folders below
    `dev_projects` counts, too.

    Raises:
        StoreError: The store failed.
    """
    marks = [object_keys.any_variable(owner) for owner in (None, project)]
    if any(await asyncio.gather(*(store.exists(mark) for mark in marks))):
        return True
    return dev_projects is not None and await asyncio.to_thread(lambda: any(dev_projects.glob(f"*/{_NAME}")))


_NAME = ".env"


class DevFolders:
    """The project folders directly below `parent`, by the names of their projects. All methods block."""

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        self._names: dict[Path, str] = {}
        """The last project name that each folder had. While its settings are being edited, a folder may have none."""
        self._seen: frozenset[tuple[Path, float]] = frozenset()

    def read_variables(self, project: str) -> dict[str, str]:
        """Return the variables that are in the `.env` of `project` now, or none if it has no such file.

        Raises:
            ConfigurationError: The file cannot be read.
        """
        folder = self.folder(project)
        return {} if folder is None else read_dotenv(folder)

    def folder(self, project: str) -> Path | None:
        """Return the folder of `project`, or None if it is not below `parent`."""
        self._refresh()
        return next((folder for folder, name in sorted(self._names.items()) if name == project), None)

    def _refresh(self) -> None:
        """Read the names again if a folder or a settings file was added, removed or changed."""
        folders = [path for path in self._parent.iterdir() if path.is_dir()] if self._parent.is_dir() else []
        seen = frozenset(
            (path, path.stat().st_mtime) for folder in folders for path in (folder, *folder.glob("Intuned.*"))
        )
        if seen == self._seen:
            return
        names: dict[Path, str] = {}
        for folder in folders:
            try:
                names[folder] = resolve_project_name(folder, read_settings(folder))
            except ProjectError:
                if folder in self._names:
                    names[folder] = self._names[folder]
        self._names, self._seen = names, seen


def read_dotenv(folder: Path) -> dict[str, str]:
    """Return the variables in the `.env` of a project folder, or none if it has no such file.

    Values are returned as they are written: `${NAME}` is not replaced, as it would be by variables of the worker.

    Raises:
        ConfigurationError: The file cannot be read.
    """
    path = folder / _NAME
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}.") from error
    if "\0" in text:
        raise ConfigurationError(f"{path} cannot be read: it holds a NUL character, which no variable can.")
    values = dotenv_values(stream=StringIO(text), interpolate=False)
    return {name: value for name, value in values.items() if value is not None}
