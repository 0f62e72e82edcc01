"""Provide the Python environments that projects have of their own, built when an Attempt needs them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

from packaging.specifiers import SpecifierSet

from activities.store_retry import retry_store
from callboard.machines.attempt_spec import NodeEnvironment, PythonEnvironment
from callboard.machines.box import node_program
from callboard.projects.environments import Environment, Environments
from callboard.projects.interpreters import choose_interpreter
from callboard.projects.manifest import OwnEnvironment
from callboard.schemas.errors import StoreError
from callboard.storage import object_keys
from callboard.storage.store import Store


class ProjectEnvironments:
    """The environments of all projects on this host, and which of them this worker has used already."""

    def __init__(self, store: Store, environments: Environments) -> None:
        self._store = store
        self._environments = environments
        self._known: dict[tuple[str, str], Environment] = {}

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
            key = object_keys.environment(*name)
            requirements = await retry_store(within, lambda: self._store.get(key))
            if requirements is None:
                raise StoreError(f"{key} is not there any more. Deploy project {project} again.")
            python = await choose_interpreter(SpecifierSet(own.requires_python or ""))
            known = await self._environments.ensure(
                requirements.decode(), project=project, python=python, folder=folder
            )
            self._known[name] = known
        return PythonEnvironment(known.python, known.site_packages)

    def ensure_node(self) -> NodeEnvironment:
        """Return what the code of a version in TypeScript runs on."""
        return NodeEnvironment(node_program(), modules=None)
