"""The packages that a project in TypeScript declares in its package.json, and the lock that they are resolved to.

`devDependencies` are left out, and what Callboard brings itself: Playwright, `@intuned/*` and `@callboard/*`. Packages
come from the operator's registry, or as folders and archives of the project by `file:`, and from nowhere else: so a
lock has the hash of each package, and no address. Nothing here is executed.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, cast

from callboard.projects.files import list_unpacked_files
from callboard.projects.languages import PACKAGE_JSON
from callboard.projects.manifest import DeployWarning, Stored
from callboard.projects.reading import reading
from callboard.schemas.errors import ProjectError
from callboard.schemas.workflow.base import clip

LOCK = "package-lock.json"
_OTHER_LOCKS = ("yarn.lock", "pnpm-lock.yaml", "bun.lock", "bun.lockb")
_NPMRC = ".npmrc"
_OURS = re.compile(r"playwright|playwright-core|@(playwright|intuned|callboard)/.*")
_ARCHIVE = re.compile(r"\.(?:tgz|tar\.gz|tar)$", re.IGNORECASE)
"""The end of the names that npm takes for those of archives."""
_ASKED = re.compile(r"(?:@[^@:/\\]+/)?[^@:/\\]+@[0-9]+\.[0-9]+\.[0-9]+(?:[-+][0-9A-Za-z.+-]*)?")
"""A name and a version that npm can only look up in the registry."""
_LARGEST_PACKAGE = 1024 * 1024
_LARGEST_LOCK = 8 * 1024 * 1024
"""Most bytes of a package.json, and of a lock. The locks of large projects have some hundred kB."""
_SHOWN = 200


class NodePackages(Stored):
    """The packages that a project declares, as npm is told them."""

    package: dict[str, Any]
    """A package.json with them, and nothing else."""
    folders: tuple[str, ...]
    """The folders and archives of the project that are packages, below its folder."""
    declaration: str
    """Name of the lock that they are resolved to. It is that of another declaration if anything of this changes."""


def read_packages(files: Path) -> NodePackages | None:
    """Return the packages that the unpacked files of a version declare; None if all are Callboard's own, or none.

    Raises:
        ProjectError: They cannot be installed; the message names the package, and what to do.
    """
    declared = _read_json(files, PACKAGE_JSON, _LARGEST_PACKAGE)
    package: dict[str, Any] = {"name": "project", "version": "0.0.0", "private": True}
    folders: list[str] = []
    for section in ("dependencies", "optionalDependencies"):
        specs = _specs(declared, section)
        package[section] = {name: spec for name, spec in specs.items() if not _OURS.fullmatch(name)}
        folders += [path for name, spec in package[section].items() if (path := _check_spec(files, name, spec))]
    if not any(package[section] for section in ("dependencies", "optionalDependencies")):
        return None
    if isinstance(overrides := declared.get("overrides"), dict):
        known = cast("dict[str, object]", overrides)
        package["overrides"] = {name: value for name, value in known.items() if not _OURS.fullmatch(name)}
        folders += [path for name, spec in _overriding(known) if (path := _check_spec(files, name, spec))]
    check_locks(files, declared)
    own = files / LOCK
    digest = hashlib.sha256(json.dumps(package, sort_keys=True).encode())
    for path in [*([own] if own.is_file() else []), *(each for name in folders for each in _below(files / name))]:
        digest.update(f"\0{path.relative_to(files)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return NodePackages(package=package, folders=tuple(folders), declaration=f"{digest.hexdigest()[:32]}-node")


def check_locks(files: Path, declared: Mapping[str, Any]) -> None:
    """Check that a project with this package.json, if it declares packages, has a lock that npm reads, or none.

    Raises:
        ProjectError: It has another one, or declares them in another form.
    """
    named = [name for section in ("dependencies", "optionalDependencies") for name in _specs(declared, section)]
    if all(_OURS.fullmatch(name) for name in named):
        return
    if not (files / LOCK).is_file() and (others := [name for name in _OTHER_LOCKS if (files / name).is_file()]):
        raise ProjectError(
            f"{others[0]}: packages are installed by npm, which reads {LOCK} only. Make one with `npm install "
            f"--package-lock-only`, and leave it in the project; or remove {others[0]}, and the newest versions that "
            f"{PACKAGE_JSON} allows are installed."
        )


def check_npm_settings(files: Path) -> Iterator[DeployWarning]:
    """Yield a warning if the project has settings for npm."""
    if (files / _NPMRC).is_file():
        message = "not followed, as packages come from the registry that the operator has named"
        yield DeployWarning(file=_NPMRC, message=message)


def write_inputs(files: Path, packages: NodePackages, lock: str | None, work: Path) -> None:
    """Write what npm is to read into the folder `work`, which is made."""
    work.mkdir()
    for name in packages.folders:
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        if (files / name).is_dir():
            shutil.copytree(files / name, work / name, dirs_exist_ok=True)  # one may lie in another one
        else:
            shutil.copy(files / name, work / name)
    (work / PACKAGE_JSON).write_text(json.dumps(packages.package))
    if lock is not None:
        (work / LOCK).write_text(lock)


def read_own_lock(files: Path) -> str | None:
    """Return the project's own lock without addresses of registries, if it has one: its versions and hashes stand.

    Raises:
        ProjectError: It is no lock.
    """
    if not (files / LOCK).is_file():
        return None
    lock = _read_json(files, LOCK, _LARGEST_LOCK)
    return json.dumps(_without_addresses(lock))


def read_lock(work: Path) -> str:
    """Return the lock that npm has written into the folder `work`.

    Raises:
        ProjectError: It has a package that is not from the registry, or without a hash.
    """
    lock = _read_json(work, LOCK, _LARGEST_LOCK)
    for entry in _entries(lock).values():
        # What the lock that a package has of its own lists is in this one.
        entry.pop("hasShrinkwrap", None)
    text = json.dumps(lock)
    check_lock(text)
    return text


def check_lock(text: str) -> None:
    """Check a lock that npm has written, or somebody in its name.

    Raises:
        ProjectError: npm would install something by it that is not in the registry, or has no hash.
    """
    for place, entry in _entries(_parse(LOCK, text)).items():
        if not place:
            continue  # This is the project itself.
        name, came_from = place.rpartition("node_modules/")[2], str(entry.get("resolved", ""))
        is_own = came_from.startswith("file:")
        # Without an address, npm asks for a name and a version, and would follow an address in one of these.
        asked = f"{name}@0.0.0" if is_own else f"{entry.get('name') or name}@{entry.get('version', '0.0.0')}"
        if not _ASKED.fullmatch(asked):
            came_from, is_own = asked, False
        # A link leads anywhere, and so do the addresses of the lock that a package has of its own.
        if (came_from and not is_own) or entry.keys() & {"link", "hasShrinkwrap", "_hasShrinkwrap"}:
            raise ProjectError(
                f"{PACKAGE_JSON}: the package {clip(name, _SHOWN)}, which another one requires, comes from "
                f"{clip(came_from, _SHOWN)} and not from the package registry, where alone packages are installed from."
            )
        if not (is_own or entry.get("inBundle") or entry.get("integrity")):
            raise ProjectError(f"{PACKAGE_JSON}: the registry has no hash of the package {name}.")


def _entries(lock: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    found: Any = lock.get("packages")
    if not isinstance(found, dict) or not all(
        isinstance(entry, dict) for entry in cast("dict[str, Any]", found).values()
    ):
        raise ProjectError(f"{LOCK}: packages: expected an object of objects.")
    return cast("dict[str, dict[str, Any]]", found)


def _overriding(overrides: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what the packages of other ones are replaced by, on all levels."""
    for name, spec in overrides.items():
        if isinstance(spec, dict):
            yield from _overriding(cast("dict[str, Any]", spec))
        elif not isinstance(spec, str):
            raise ProjectError(f"{PACKAGE_JSON}: overrides: expected an object of names and versions.")
        elif not spec.startswith("$"):  # That stands for the version of a dependency.
            yield name, spec


def _specs(declared: Mapping[str, Any], section: str) -> dict[str, str]:
    found: Any = declared.get(section, {})
    if not isinstance(found, dict) or not all(isinstance(spec, str) for spec in cast("dict[str, Any]", found).values()):
        raise ProjectError(f"{PACKAGE_JSON}: {section}: expected an object of names and versions.")
    return cast("dict[str, str]", found)


def _check_spec(files: Path, name: str, spec: str) -> str | None:
    """Return the path of a package that is in the project; None for one of the registry.

    Raises:
        ProjectError: It is neither.
    """
    is_place = re.search(r"[:/\\]", spec)
    is_path = spec.startswith(("file:", ".")) or (_ARCHIVE.search(spec) and not is_place)  # as npm reads it
    if spec.startswith("npm:") or not (is_place or is_path):
        return None
    if not is_path:
        raise ProjectError(
            f"{PACKAGE_JSON}: the package {name} is {clip(spec, _SHOWN)!r}, and packages are installed from the "
            "package registry only. Name a version that is there; or put the package into the project, and name its "
            "folder: file:packages/x."
        )
    path = PurePosixPath(spec.removeprefix("file:"))
    parts = [part for part in path.parts if part != "."]
    place = files.joinpath(*parts)
    is_package = (place / PACKAGE_JSON).is_file() or (place.is_file() and _ARCHIVE.search(spec))
    if path.is_absolute() or ".." in parts or not parts or parts[0] == LOCK or not is_package:
        raise ProjectError(
            f"{PACKAGE_JSON}: the package {name} is {clip(spec, _SHOWN)!r}, which is no package in the project. Name a "
            "folder with a package.json, or an archive (.tgz, .tar.gz, .tar), below the project folder."
        )
    return "/".join(parts)


def _below(path: Path) -> list[Path]:
    return [path] if path.is_file() else [file.source for file in list_unpacked_files(path)]


def _without_addresses(value: object) -> Any:
    """Return a lock without the addresses that packages were fetched from: they are looked up in our registry."""
    if isinstance(value, dict):
        return {
            key: _without_addresses(item)
            for key, item in cast("dict[str, object]", value).items()
            if not (key == "resolved" and str(item).startswith(("http:", "https:")))
        }
    return [_without_addresses(item) for item in cast("list[object]", value)] if isinstance(value, list) else value


def _read_json(folder: Path, name: str, limit: int) -> dict[str, Any]:
    path = folder / name
    if path.stat().st_size > limit:
        raise ProjectError(f"{name}: expected at most {limit:,} bytes, found more.")
    try:
        text = path.read_text("utf-8-sig")
    except ValueError as error:
        raise ProjectError(f"{name}: this is not JSON: {error}.") from error
    return _parse(name, text)


def _parse(name: str, text: str) -> dict[str, Any]:
    try:
        with reading(name):
            found: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ProjectError(f"{name}: this is not JSON: {error}.") from error
    if not isinstance(found, dict):
        raise ProjectError(f"{name}: expected an object.")
    return cast("dict[str, Any]", found)
