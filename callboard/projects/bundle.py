"""Packing the files of a version into one archive, naming the version by its content, and unpacking it.

The same files give the same bytes and the same version on every host, whatever their dates and owners are.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
import time
import warnings
import zlib
from collections.abc import Callable, Generator, Sequence
from compileall import compile_file
from contextlib import contextmanager
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import IO, BinaryIO

from callboard.projects.files import ProjectFile
from callboard.schemas.errors import ProjectError, StoreError

MAX_SIZE = 256 * 1024 * 1024
"""Most bytes that all files of a project may have together. Every worker unpacks every version, so data sets do not
belong in a project."""

_MTIME = 315_532_800
"""The modification time of every packed file, 1980-01-01. Zip files cannot hold an earlier one, and user code may make
zip files."""

_COMPILE_TIMEOUT = 60
"""Seconds that compiling a version may take. Each Attempt itself compiles the files it needs that are not compiled by
then."""

_CHUNK_SIZE = 64 * 1024


def pack(files: Sequence[ProjectFile], target: Path, *, extra: str = "") -> str:
    """Write the files of a project to the archive `target`, and return the version.

    The version is the first 16 hexadecimal digits of a SHA-256 over the path, mode and content of all files, and over
    `extra`, which is text that is in no file of the project but whose change makes another version.

    Raises:
        ProjectError: A file cannot be bundled, or the files are too big together.
    """
    _check_size(files)
    digest = hashlib.sha256()
    try:
        with target.open("wb") as file, open_bundle(file) as archive:
            for item in files:
                add_file(archive, item.path, item.source, digest.update)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    digest.update(extra.encode())
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
            while unzipped.read(_CHUNK_SIZE):
                pass  # Read to the end, because the checksum is compared only there.
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise StoreError(f"the bundle cannot be unpacked: {error}.") from error


def extract_and_compile(bundle: Path, folder: Path) -> bool:
    """Unpack the archive `bundle` into `folder` and compile its Python files. Return whether there was time for all.

    The compiled files are bound to the content of their sources and not to their dates, so that they stay valid in
    every copy of the folder. A file that cannot be compiled is left as it is; importing it raises the error.

    Raises:
        StoreError: the archive is damaged or the folder cannot be written.
    """
    extract(bundle, folder)
    ends = time.monotonic() + _COMPILE_TIMEOUT
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for file in sorted(folder.rglob("*.py")):
            if time.monotonic() > ends:
                return False
            compile_file(file, quiet=2, invalidation_mode=PycInvalidationMode.CHECKED_HASH)
    return True


def hash_files(bundle: Path) -> dict[str, str]:
    """Return a hash of content and mode of each file in the archive `bundle`, by path."""
    found: dict[str, str] = {}
    with tarfile.open(bundle, mode="r|gz") as archive:
        for entry in archive:
            if (content := archive.extractfile(entry)) is not None:
                digest = hashlib.sha256(f"{entry.mode:o} ".encode())
                while chunk := content.read(_CHUNK_SIZE):
                    digest.update(chunk)
                found[entry.name] = digest.hexdigest()[:16]
    return found


def _check_size(files: Sequence[ProjectFile]) -> None:
    size = sum(file.size for file in files)
    if size > MAX_SIZE:
        biggest = max(files, key=lambda file: file.size)
        raise ProjectError(
            f"The project's files have {size:,} bytes together, and {MAX_SIZE:,} are allowed. The biggest is "
            f"{biggest.path} with {biggest.size:,}. Keep data out of the project, or in output/ or tmp/."
        )


@contextmanager
def open_bundle(target: BinaryIO) -> Generator[tarfile.TarFile]:
    """Write an archive to `target` as long as the block lasts."""
    with (
        gzip.GzipFile("", "wb", 6, target, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        yield archive


def add_file(archive: tarfile.TarFile, path: str, source: Path, on_data: Callable[[bytes], None] | None = None) -> None:
    """Add the file `source` to the archive as `path`; `on_data` is given all that tells it from another file.

    Raises:
        ProjectError: The file cannot be read.
    """
    try:
        with source.open("rb") as content:
            status = os.fstat(content.fileno())
            entry = _entry(path, status.st_size, executable=bool(status.st_mode & 0o100))
            if on_data is None:
                archive.addfile(entry, content)
                return
            # The length comes before the content, so no two different sets of files give the same stream of bytes.
            on_data(f"{path}\0{entry.mode:o}\0{entry.size}\0".encode())
            archive.addfile(entry, _HashingReader(content, on_data))
    except OSError as error:
        raise ProjectError(f"{path}: cannot be read: {error.strerror or error}.") from error


def add_content(archive: tarfile.TarFile, path: str, content: bytes) -> None:
    """Add a file with this content to the archive."""
    archive.addfile(_entry(path, len(content), executable=False), io.BytesIO(content))


def _entry(path: str, size: int, *, executable: bool) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path)
    entry.size = size
    entry.mode = 0o755 if executable else 0o644
    entry.mtime = _MTIME
    return entry


class _HashingReader:
    """A readable file that hashes what is read from it, so that the packed and the hashed bytes are the same."""

    def __init__(self, content: IO[bytes], update_digest: Callable[[bytes], None]) -> None:
        self._content = content
        self._update_digest = update_digest

    def read(self, size: int = -1, /) -> bytes:
        data = self._content.read(size)
        self._update_digest(data)
        return data
