"""The project folders of `callboard dev`: finding them, and deploying each one whatever the others are like."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from contract.errors import ProjectError, StackError
from projects.deploy import deploy
from projects.environments import Environments
from projects.manifest import Manifest
from projects.settings_file import SPELLINGS, project_name, read_settings
from storage.store import Store


@dataclass(frozen=True)
class BrokenProject:
    """A project folder that could not be deployed, and why."""

    folder: Path
    reason: str


def project_folders(parent: Path) -> list[Path]:
    """The project folders directly below `parent`, by name: those with a settings file or a folder `api`.

    Raises:
        StackError: `parent` is no folder, holds no project, or is a project itself.
    """
    if not parent.is_dir():
        raise StackError(f"There is no folder {parent}. Name the folder that holds your project folders.")
    if _has_settings(parent):
        raise StackError(f"{parent} is a project itself. Name the folder above it: every project in there is served.")
    folders = [
        folder
        for folder in sorted(parent.iterdir())
        if folder.is_dir() and not folder.name.startswith(".") and (_has_settings(folder) or (folder / "api").is_dir())
    ]
    if not folders:
        raise StackError(
            f"There is no project below {parent}. A project is a folder with a settings file"
            f" ({' or '.join(SPELLINGS)}) and its APIs in a folder `api`."
        )
    return folders


async def deploy_all(
    folders: list[Path], store: Store, environments: Environments | None = None
) -> tuple[list[Manifest], list[BrokenProject]]:
    """Deploy every folder; what is wrong with one is told, and stops no other."""
    deployed: list[Manifest] = []
    broken: list[BrokenProject] = []
    owners: dict[str, Path] = {}
    for folder in folders:
        try:
            name = project_name(folder, read_settings(folder))
            if name in owners:
                raise ProjectError(f"projectName: {name} is the name of the project in {owners[name]} already.")
            deployed.append(await deploy(folder, store, environments))
            owners[name] = folder
        except ProjectError as error:
            broken.append(BrokenProject(folder, error.message))
    return deployed, broken


def _has_settings(folder: Path) -> bool:
    return any((folder / spelling).is_file() for spelling in SPELLINGS)
