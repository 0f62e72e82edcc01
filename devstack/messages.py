"""Messages about projects while `callboard dev` runs, one line each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from projects.manifest import Manifest


@dataclass(frozen=True)
class BrokenProject:
    """A project folder that cannot be deployed as it is now, and the reason."""

    folder: Path
    reason: str
    served_version: str | None = None
    """The version that was deployed before and is still served, if there is one."""


def format_version(manifest: Manifest) -> str:
    """Describe a version that is served; the caller has to show its warnings."""
    return f"{manifest.project}   version {manifest.version}, APIs: {', '.join(manifest.apis)}"


def format_published(manifest: Manifest) -> str:
    """Report a version that was published just now, with its warnings."""
    line = f"Published {format_version(manifest)}"
    if not manifest.warnings:
        return line
    return f"{line}   (warning: {'; '.join(_join_lines(str(warning)) for warning in manifest.warnings)})"


def format_broken(project: BrokenProject) -> str:
    """Report a project that cannot be deployed."""
    line = f"NOT DEPLOYED {project.folder.name}   {_join_lines(project.reason).removesuffix('.')}."
    return line if project.served_version is None else f"{line} Version {project.served_version} is still served."


def format_recovered(manifest: Manifest) -> str:
    """Report a project that is again as it was before something was wrong with it."""
    return f"Project {manifest.project}   is valid again: version {manifest.version} is still served"


def format_removed(folder: Path, manifest: Manifest) -> str:
    """Report a project whose folder is not a project any more."""
    return f"Project {manifest.project}   {folder} no longer exists; version {manifest.version} is still served"


def format_renamed(folder: Path, before: Manifest, now: Manifest) -> str:
    """Report a folder whose project has another name now."""
    return (
        f"Project {before.project}   {folder} is now project {now.project};"
        f" version {before.version} of {before.project} is still served"
    )


def format_pending(folder: Path) -> str:
    """Report a project whose deploy takes long."""
    return f"Project in {folder.name}   is being deployed; building its environment may take a minute …"


def _join_lines(text: str) -> str:
    return " ".join(text.split())
