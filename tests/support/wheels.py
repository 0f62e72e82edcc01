"""Packages of a few lines, as wheels in a folder, for projects that list them with `--find-links`."""

from __future__ import annotations

import zipfile
from pathlib import Path


def make_wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    *,
    requires: tuple[str, ...] = (),
    files: dict[str, str] | None = None,
) -> None:
    """Write a wheel of the package `name`, which is one module of that name unless `files` says otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = files or {f"{name}.py": f"V = '{version}'"}
    info = f"{name}-{version}.dist-info"
    metadata = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    metadata += [f"Requires-Dist: {requirement}" for requirement in requires]
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in contents.items():
            wheel.writestr(path, text)
        wheel.writestr(f"{info}/METADATA", "\n".join([*metadata, ""]))
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        names = [*contents, *(f"{info}/{name}" for name in ("METADATA", "WHEEL", "RECORD"))]
        wheel.writestr(f"{info}/RECORD", "".join(f"{path},,\n" for path in names))
