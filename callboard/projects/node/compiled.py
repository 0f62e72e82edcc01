"""The archive of the compiled functions of a version: how it goes from the host that has made it into the version."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from callboard.projects.bundle import MAX_SIZE, add_file, open_bundle, pack
from callboard.projects.files import COMPILED, list_unpacked_files
from callboard.schemas.errors import ProjectError
from callboard.schemas.workflow.base import clip

_SHOWN = 200
"""Most characters of a name that are shown."""


def pack_compiled(folder: Path, archive: Path) -> None:
    """Write the compiled functions in `folder` to an archive."""
    with archive.open("wb") as file, open_bundle(file) as packed:
        for each in list_unpacked_files(folder):
            add_file(packed, each.path, each.source)


def add_compiled(archive: Path, functions: list[str], files: Path, bundle: Path) -> None:
    """Pack a version anew as `bundle`, with its compiled functions, which are added to its unpacked files in `files`.

    Raises:
        ProjectError: The archive has anything else than these functions, or all is too big together.
    """
    unpack_compiled(archive, files, functions)
    pack(list_unpacked_files(files), bundle)


def unpack_compiled(archive: Path, folder: Path, functions: Sequence[str]) -> None:
    """Write what `pack_compiled` has packed into the version's folder `folder`.

    It may be the word of a host that was taken over, so nothing but these functions is taken.

    Raises:
        ProjectError: It is something else.
    """
    expected, size = {f"{function}.cjs" for function in functions}, 0
    try:
        with tarfile.open(archive, mode="r|gz") as members:
            for member in members:
                size += member.size
                content = members.extractfile(member) if member.isreg() else None
                if content is None or member.name not in expected or size > MAX_SIZE:
                    raise _not_compiled(f"{clip(repr(member.name), _SHOWN)}, or more than {MAX_SIZE:,} bytes")
                expected.remove(member.name)
                target = folder / COMPILED / member.name
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("xb") as file:
                    while piece := content.read(1024 * 1024):
                        file.write(piece)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError) as error:
        raise _not_compiled(f"what is no archive ({error})") from error
    if expected:
        raise _not_compiled(f"nothing for {min(expected)}")


def _not_compiled(what: str) -> ProjectError:
    return ProjectError(f"The worker that has compiled the version has sent {what}. Deploy again.")
