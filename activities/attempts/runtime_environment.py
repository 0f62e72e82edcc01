"""What a version's Machines run on, on this host: its own environment, and in `callboard dev` its `.env`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from packaging.specifiers import SpecifierSet

from activities.store_retry import retry_store
from machines.attempt_spec import PythonEnvironment
from projects.dotenv import DevFolders
from projects.environments import Environment, Environments
from projects.interpreters import choose_interpreter
from projects.manifest import Manifest
from schemas.errors import StoreError
from storage import keys
from storage.store import Store


@dataclass(frozen=True)
class RuntimeEnvironment:
    """Interpreter and environment variables of one version."""

    python: PythonEnvironment | None = None
    """The version's own interpreter; None for Callboard's own."""
    variables: tuple[tuple[str, str], ...] = field(default=(), repr=False)


class ProjectEnvironments:
    """The environments of all projects, fetched from the store and built when an Attempt needs them."""

    def __init__(self, store: Store, environments: Environments, dev: DevFolders | None) -> None:
        """Set up without building anything yet.

        Args:
            store: The artifact store, where the lists of packages are.
            environments: The environments of this host.
            dev: The project folders, in `callboard dev` only.
        """
        self._store = store
        self._environments = environments
        self._dev = dev
        self._known: dict[tuple[str, str], Environment] = {}

    async def prepare(self, manifest: Manifest, folder: Path, *, within: timedelta) -> RuntimeEnvironment:
        """Return what the version runs on; its environment is built when this returns.

        Raises:
            MachineError: The environment cannot be built.
            ConfigurationError: The project's `.env` cannot be read.
            StoreError: The store failed, for longer than `within`.
        """
        python = await self._python(manifest, folder, within)
        variables = await asyncio.to_thread(self._dev.read_variables, manifest.project) if self._dev is not None else {}
        return RuntimeEnvironment(python, tuple(sorted(variables.items())))

    async def _python(self, manifest: Manifest, folder: Path, within: timedelta) -> PythonEnvironment | None:
        own = manifest.environment
        if own is None:
            return None
        name = (manifest.project, own.declaration)
        known = self._known.get(name)
        if known is None or not await asyncio.to_thread(known.mark_used):
            key = keys.environment(*name)
            requirements = await retry_store(within, lambda: self._store.get(key))
            if requirements is None:
                raise StoreError(f"{key} is not there any more. Deploy project {manifest.project} again.")
            python = await choose_interpreter(SpecifierSet(own.requires_python or ""))
            known = await self._environments.ensure(
                requirements.decode(), project=manifest.project, python=python, folder=folder
            )
            self._known[name] = known
        return PythonEnvironment(known.python, known.site_packages)
