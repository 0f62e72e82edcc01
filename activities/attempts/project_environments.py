"""Provide the environments that projects have of their own, built when an Attempt needs them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

from packaging.specifiers import SpecifierSet

from activities.store_retry import retry_store
from callboard.machines.attempt_spec import NodeEnvironment, PythonEnvironment
from callboard.machines.box import node_program
from callboard.projects.bounded import run_bounded
from callboard.projects.environments import Environment, Environments, mark_used
from callboard.projects.interpreters import choose_interpreter
from callboard.projects.manifest import NodeEnvironment as OwnNodeEnvironment
from callboard.projects.manifest import OwnEnvironment
from callboard.projects.node.packages import read_packages
from callboard.schemas.errors import StoreError
from callboard.storage import object_keys
from callboard.storage.store import Store


class ProjectEnvironments:
    """The environments of all projects on this host, and which of them this worker has used already."""

    def __init__(self, store: Store, environments: Environments) -> None:
        self._store = store
        self._environments = environments
        self._known: dict[tuple[str, str], Environment] = {}
        self._modules: dict[tuple[str, str], Path] = {}

    async def ensure_python(
        self, project: str, own: OwnEnvironment, folder: Path, *, within: timedelta
    ) -> PythonEnvironment:
        """Return the environment that a version's manifest declares; it is built when this returns.

        The settings for uv in the version's folder are followed.

        Raises:
            MachineError: The environment cannot be built.
            StoreError: The store failed, for longer than `within`.
        """
        name = (project, own.declaration)
        known = self._known.get(name)
        if known is None or not await asyncio.to_thread(known.mark_used):
            requirements = await self._fetch(*name, within)
            python = await choose_interpreter(SpecifierSet(own.requires_python or ""))
            known = await self._environments.ensure(requirements, project=project, python=python, folder=folder)
            self._known[name] = known
        return PythonEnvironment(known.python, known.site_packages)

    async def ensure_node(
        self, project: str, own: OwnNodeEnvironment, folder: Path, *, within: timedelta
    ) -> NodeEnvironment:
        """Return what the code of a version in TypeScript runs on; its packages are installed when this returns.

        Some of them may be in the version's folder. Raises the same errors as `ensure_python`.
        """
        if own.declaration is None or not own.installed:
            return NodeEnvironment(node_program(), None)
        name = (project, own.declaration)
        modules = self._modules.get(name)
        if modules is None or not await asyncio.to_thread(mark_used, modules):
            packages = await run_bounded(read_packages, folder, read=[folder])
            if packages is None or packages.declaration != own.declaration:
                raise StoreError(f"{folder} is not the version that was deployed. Deploy project {project} again.")
            lock = await self._fetch(*name, within)
            modules = await self._environments.ensure_modules(lock, packages, project=project, folder=folder)
            self._modules[name] = modules
        return NodeEnvironment(node_program(), modules)

    async def _fetch(self, project: str, declaration: str, within: timedelta) -> str:
        """Return a list of packages, or a lock, from the store."""
        key = object_keys.environment(project, declaration)
        listed = await retry_store(within, lambda: self._store.get(key))
        if listed is None:
            raise StoreError(f"{key} is not there any more. Deploy project {project} again.")
        return listed.decode()
