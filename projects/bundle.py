"""The files of a version as one archive: packing it, naming it by its content, unpacking it.

The same files give the same bytes and the same version on every host, whatever their dates and owners are.
"""

from __future__ import annotations

import gzip
import hashlib
import logging
import os
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path
from typing import IO, Protocol

from projects.files import ProjectFile, project_files
from schemas.errors import ProjectError, StoreError

MAX_SIZE = 256 * 1024 * 1024
"""Bytes of all files of a project. Every worker unpacks every version: data sets belong elsewhere."""

_DATE = 315_532_800
"""1980-01-01, the modification time of every file: zip files know no earlier one, and user code may make some."""

_COMPILE_LIMIT = 60
"""Seconds that compiling a version may take. What is not compiled by then is compiled by each Attempt that needs it."""

_CHUNK = 64 * 1024

_log = logging.getLogger(__name__)


def pack(folder: Path, target: Path, *, beside: str = "") -> str:
    """Write the files of the project in `folder` to the archive `target`; its version.

    The version is the first 16 hexadecimal digits of a SHA-256 over path, mode and content of all files, and over
    `beside`: what is no file of the project, but makes it another version.

    Raises:
        ProjectError: a file cannot be bundled, or they are too big together.
    """
    files = project_files(folder)
    _check_size(files)
    digest = hashlib.sha256()
    try:
        with (
            target.open("wb") as file,
            gzip.GzipFile("", "wb", 6, file, mtime=0) as zipped,
            tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for item in files:
                _add(archive, item, digest)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    digest.update(beside.encode())
    return digest.hexdigest()[:16]


def extract(bundle: Path, folder: Path) -> None:
    """Unpack the archive `bundle` into `folder`.

    Raises:
        StoreError: the archive is damaged or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with gzip.open(bundle) as unzipped, tarfile.open(fileobj=unzipped, mode="r:") as archive:
            archive.extractall(folder, filter="data")
            while unzipped.read(_CHUNK):
                pass  # To the end, where the checksum is compared.
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise StoreError(f"the bundle cannot be unpacked: {error}.") from error


def unpack(bundle: Path, folder: Path) -> None:
    """Unpack the archive `bundle` into `folder` and compile its Python files.

    The compiled files are bound to the content of their sources and not to their dates, so that they stay good in
    every copy of the folder. A file with a syntax error has none; its import says what is wrong.

    Raises:
        StoreError: the archive is damaged or the folder cannot be written.
    """
    extract(bundle, folder)
    # In a process of its own: the compiler holds the interpreter's lock, and code nested deeply enough ends it.
    command = [sys.executable, "-I", "-W", "ignore", "-m", "compileall", "-qq", "--invalidation-mode", "checked-hash"]
    try:
        subprocess.run([*command, folder], check=False, timeout=_COMPILE_LIMIT, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        _log.warning("%s was not compiled within %s s; its first Attempts will be slower", folder, _COMPILE_LIMIT)


def _check_size(files: list[ProjectFile]) -> None:
    size = sum(file.size for file in files)
    if size > MAX_SIZE:
        biggest = max(files, key=lambda file: file.size)
        raise ProjectError(
            f"The project's files have {size:,} bytes together, and {MAX_SIZE:,} are allowed. The biggest is "
            f"{biggest.path} with {biggest.size:,}. Keep data out of the project, or in output/ or tmp/."
        )


class _Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...


def _add(archive: tarfile.TarFile, item: ProjectFile, digest: _Digest) -> None:
    try:
        with item.source.open("rb") as content:
            status = os.fstat(content.fileno())
            entry = tarfile.TarInfo(item.path)
            entry.size = status.st_size
            entry.mode = 0o755 if status.st_mode & 0o100 else 0o644
            entry.mtime = _DATE
            # With the length before the content, no two different sets of files are the same stream.
            digest.update(f"{item.path}\0{entry.mode:o}\0{entry.size}\0".encode())
            archive.addfile(entry, _Hashed(content, digest))
    except OSError as error:
        raise ProjectError(f"{item.path}: cannot be read: {error.strerror or error}.") from error


class _Hashed:
    """Passes on what is read, and hashes it: what is packed and what is hashed are the same bytes."""

    def __init__(self, content: IO[bytes], digest: _Digest) -> None:
        self._content = content
        self._digest = digest

    def read(self, size: int = -1, /) -> bytes:
        data = self._content.read(size)
        self._digest.update(data)
        return data
