"""What is said of a project while `callboard dev` runs: one line each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from projects.manifest import Manifest


@dataclass(frozen=True)
class BrokenProject:
    """A project folder that cannot be deployed as it is now, and why."""

    folder: Path
    reason: str
    serving: str | None = None
    """The version that was deployed before and is served on, if there is one."""


def served(manifest: Manifest) -> str:
    """A version that is served; its warnings are for the caller to show."""
    return f"{manifest.project}   version {manifest.version}, APIs: {', '.join(manifest.apis)}"


def published(manifest: Manifest) -> str:
    """A version that was published just now."""
    line = f"Published {served(manifest)}"
    if not manifest.warnings:
        return line
    return f"{line}   (warning: {'; '.join(_in_one_line(str(warning)) for warning in manifest.warnings)})"


def broken(project: BrokenProject) -> str:
    """A project that cannot be deployed."""
    line = f"NOT DEPLOYED {project.folder.name}   {_in_one_line(project.reason)}"
    return line if project.serving is None else f"{line} Version {project.serving} is served on."


def good_again(manifest: Manifest) -> str:
    """A project that is as it was before something was wrong with it."""
    return f"Project {manifest.project}   is good again: version {manifest.version}, as before"


def gone(folder: Path, manifest: Manifest) -> str:
    """A project whose folder is no project any more."""
    return f"Project {manifest.project}   {folder} is not there any more; version {manifest.version} is served on"


def renamed(folder: Path, before: Manifest, now: Manifest) -> str:
    """A folder whose project has another name now."""
    return (
        f"Project {before.project}   {folder} is project {now.project} now;"
        f" version {before.version} of {before.project} is served on"
    )


def pending(folder: Path) -> str:
    """A project whose deploy takes long."""
    return f"Project in {folder.name}   is being deployed; it may take a minute to build its environment …"


def _in_one_line(text: str) -> str:
    return " ".join(text.split())
