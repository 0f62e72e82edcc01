"""A host that deploys projects, builds their environments and executes Attempts in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from activities.attempts.project_environments import ProjectEnvironments
from callboard.machines.attempt_spec import Version
from callboard.projects.deploy import deploy
from callboard.projects.environments import Environments
from callboard.projects.manifest import Manifest, NodeEnvironment, OwnEnvironment
from callboard.projects.versions import VersionFolders
from callboard.storage import object_keys
from callboard.storage.folder import FolderStore
from tests.support.machines import Lab, attempt_of, value

SOON = timedelta(seconds=5)

WHAT_IS_HERE = """
import importlib.metadata, sys

async def automation(page, params):
    found = {}
    for name in params:
        try:
            module = __import__(name, fromlist=["x"])
            found[name] = getattr(module, "__file__", None) or str(module)
        except ImportError as error:
            found[name] = None
    await page.set_content("<h1>here</h1>")
    return {
        "found": found,
        "playwright": importlib.metadata.version("playwright"),
        "page": await page.inner_text("h1"),
        "prefix": sys.prefix,
        "executable": sys.executable,
        "version": list(sys.version_info[:2]),
    }
"""


@dataclass
class Host:
    """A host that deploys projects and executes Attempts of them."""

    lab: Lab
    store: FolderStore
    environments: Environments
    root: Path
    versions: VersionFolders
    make: Callable[..., Path]

    async def deploy(self, files: dict[str, str], name: str = "shop") -> Manifest:
        folder = self.make({"api/here.py": WHAT_IS_HERE, **files}, name=name)
        return await deploy(folder, self.store, self.environments)

    async def version(self, manifest: Manifest) -> Version:
        """As a worker makes it, that has not seen the project before."""
        folder = await self.versions.ensure(manifest.project, manifest.version)
        worker = ProjectEnvironments(self.store, self.environments)
        plain = Version(manifest.project, manifest.version, folder, 4 * 1024**3, 1024, 800)
        match manifest.environment:
            case OwnEnvironment() as own:
                return replace(plain, python=await worker.ensure_python(plain.project, own, folder, within=SOON))
            case NodeEnvironment() as own:
                return replace(plain, node=await worker.ensure_node(plain.project, own, folder, within=SOON))
            case None:
                return plain

    async def here(self, manifest: Manifest, *names: str) -> Any:
        """What an Attempt finds of the modules `names`."""
        pool = self.lab.pool(project=manifest.project)
        return value(await pool.run_attempt(await self.version(manifest), attempt_of("here", list(names))))

    def built(self) -> list[str]:
        """The names of the environments, without uv's caches."""
        return sorted(path.name for path in self.root.iterdir() if not path.name.startswith(".uv-"))

    async def listed(self, manifest: Manifest) -> str:
        """The stored list of what the project's environment consists of."""
        assert manifest.environment is not None
        assert manifest.environment.declaration is not None
        stored = await self.store.get(object_keys.environment(manifest.project, manifest.environment.declaration))
        assert stored is not None
        return stored.decode()


def listing(*requirements: str) -> dict[str, str]:
    """A `requirements.txt` of these packages."""
    return {"requirements.txt": "\n".join([*requirements, ""])}
