"""A project folder as it is sent over REST: a tar of its files, compressed by gzip, or JSON, which is made one.

Whoever has a key can send anything. So an upload is read from front to back within limits, and only plain files with
plain names are accepted. Of their properties, only the owner's permission to execute counts.
"""

from __future__ import annotations

import gzip
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from callboard.projects.apis import check_ignored
from callboard.projects.bundle import add_content, add_file, open_bundle
from callboard.projects.declaration import FROZEN, VENV, freeze_venv
from callboard.projects.files import check_name, list_project_files
from callboard.projects.manifest import DeployWarning
from callboard.projects.resource_files import AUTH_SESSION_FILES, list_auth_session_paths
from callboard.projects.settings_file import MAX_SETTINGS_SIZE, SettingsFile, parse_settings_file
from callboard.projects.settings_syntax import SETTINGS_PARSERS
from callboard.schemas.errors import PayloadTooLarge, ProjectError, SettingsError
from callboard.schemas.rest.deploys import CodeTree
from callboard.schemas.rest.field_errors import field_error
from callboard.schemas.rest.json_text import parse_json_object, validate_body
from callboard.schemas.workflow.base import clip

_CHUNK = 64 * 1024
"""Bytes that are read at once."""
_LONGEST_READ = 2 * 1024 * 1024
"""Most bytes that are read at once. Content is read in pieces, and headers as a whole."""
_LONGEST_PATH = 1024
"""Most bytes of a path. The limit of a file system is about the whole of it, from the root."""
_LONGEST_NAME = 255
"""Most bytes of a part of a path, as a file system has it."""
_SHOWN = 200
"""Most characters of a path that are shown."""


@dataclass(frozen=True)
class UploadLimits:
    """How large an upload may be."""

    packed: int
    """Bytes of the compressed archive."""
    unpacked: int = 2 * 1024**3
    """Bytes of the archive once it is not compressed any more. Control workers have place for it."""
    files: int = 50_000
    """Number of its files, and that of its folders."""


@dataclass(frozen=True)
class _File:
    """A file of an upload."""

    path: str
    """Path below the project folder, with `/` between its parts."""
    executable: bool
    content: IO[bytes]
    """Its content, which can be read until the next file comes."""


def check_upload(archive: Path, project: str, limits: UploadLimits) -> None:
    """Check all that can be checked of an upload without writing any of it.

    Raises:
        ProjectError, SettingsError: The upload is wrong; the message names the path and what is wrong with it.
        PayloadTooLarge: It is too large once it is unpacked, or has too many files.
    """
    settings: dict[str, bytes] = {}

    def keep_settings(file: _File) -> None:
        if file.path in SETTINGS_PARSERS:
            settings[file.path] = file.content.read(MAX_SETTINGS_SIZE + 1)

    _read(archive, limits, keep_settings)
    name = next((name for name in SETTINGS_PARSERS if name in settings), None)
    if name is None:
        raise ProjectError(
            "The upload is not a project, as it has no settings file at its top. Add Intuned.jsonc; {} is enough."
        )
    check_project_name(parse_settings_file(name, settings[name]), project)


def check_project_name(file: SettingsFile, project: str) -> None:
    """Raise SettingsError if the settings are those of another project than the one that the upload is for."""
    found = file.settings.project_name
    if found is not None and found != project:
        expected = f'expected "{project}", as the upload is for that project, found "{found}"'
        raise SettingsError(file.name, "projectName", expected)


def unpack_upload(archive: Path, folder: Path, limits: UploadLimits) -> None:
    """Write the files of an upload into `folder`, which is created.

    Raises:
        ProjectError: The upload is wrong; the message names the path and what is wrong with it.
        PayloadTooLarge: It is too large once it is unpacked, or has too many files.
        OSError: The disk failed.
    """

    def write(file: _File) -> None:
        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as out:
            shutil.copyfileobj(file.content, out, _CHUNK)
        target.chmod(0o755 if file.executable else 0o644)

    folder.mkdir()
    _read(archive, limits, write)


def pack_upload(folder: Path, target: Path) -> list[DeployWarning]:
    """Write all of the project in `folder` that a deploy needs: its files, its AuthSessions, what its `.venv` lists.

    Return a warning for each API that is left out.

    Raises:
        ProjectError: A file cannot be read, or is none that a project may have.
    """
    frozen = freeze_venv(folder)
    with target.open("wb") as file, open_bundle(file) as archive:
        for each in list_project_files(folder):
            add_file(archive, each.path, each.source)
        for path in list_auth_session_paths(folder):
            add_file(archive, f"{AUTH_SESSION_FILES}/{path.name}", path)
        if frozen is not None:
            add_content(archive, f"{VENV}/pyvenv.cfg", f"version = {frozen.python}\n".encode())
            add_content(archive, f"{VENV}/{FROZEN}", frozen.requirements.encode())
    return check_ignored(folder)


def _read(archive: Path, limits: UploadLimits, take: Callable[[_File], None]) -> None:
    """Give each file of the upload to `take`, in the order of the archive."""
    names = _Names(limits.files)
    with archive.open("rb") as packed:
        unpacked = _Unpacked(packed, limits.unpacked)
        try:
            with tarfile.open(fileobj=cast("IO[bytes]", unpacked), mode="r:", encoding="utf-8") as members:
                while (member := members.next()) is not None:
                    path = names.add(member)
                    content = members.extractfile(member) if path is not None else None
                    if path is not None and content is not None:
                        take(_File(path, bool(member.mode & 0o100), content))
            unpacked.finish()
        except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, ValueError, RecursionError) as error:
            raise ProjectError(f"The upload is no tar that gzip has compressed, or is damaged: {error}.") from error


class _Names:
    """The names of the files and folders that have come so far."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def add(self, member: tarfile.TarInfo) -> str | None:
        """Return the path of a file below the project folder, and None for a folder."""
        path = member.name
        while path.startswith("./"):
            path = path.removeprefix("./").lstrip("/")
        path = path.rstrip("/") if member.isdir() else path
        if member.isdir() and path in ("", "."):
            return None
        self._check(path, member)
        for folder in self._parents(path):
            self._folders.add(folder)
        (self._folders if member.isdir() else self._files).add(path)
        for kind, found in (("files", self._files), ("folders", self._folders)):
            if len(found) > self._limit:
                expected = f"at most {self._limit:,} {kind}"
                raise too_large(f"The upload has more than {self._limit:,} {kind}.", expected)
        return None if member.isdir() else path

    def _check(self, path: str, member: tarfile.TarInfo) -> None:
        if path.startswith("/"):
            raise _wrong(path, "a path below the project folder, and not an absolute one")
        parts = path.split("/")
        if ".." in parts:
            raise _wrong(path, "a path that has no part ..")
        if not {"", "."}.isdisjoint(parts):
            raise _wrong(path, "a plain path")
        try:
            check_name(path)
        except ProjectError as error:
            raise _wrong(path, "a name in UTF-8 without control characters") from error
        if len(path.encode()) > _LONGEST_PATH or any(len(part.encode()) > _LONGEST_NAME for part in parts):
            raise _wrong(path, f"at most {_LONGEST_PATH} bytes, and {_LONGEST_NAME} in each part")
        if member.issym() or member.islnk():
            raise _wrong(path, f"a file, and not a {'symbolic' if member.issym() else 'hard'} link; send its target")
        if not member.isdir() and (member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.issparse()):
            raise _wrong(path, "a file or a folder, and nothing else such as a device or a pipe")
        if path in self._files or (path in self._folders and not member.isdir()):
            raise _wrong(path, "each path once")

    def _parents(self, path: str) -> list[str]:
        """Return the folders above a path that have not come before."""
        new: list[str] = []
        while "/" in path and (path := path.rpartition("/")[0]) not in self._folders:
            if path in self._files:
                raise _wrong(path, "a file or a folder, and not both")
            new.append(path)
        return new


class _Unpacked:
    """The unpacked bytes of an archive, which are read from front to back, and never more of them than allowed."""

    def __init__(self, packed: BinaryIO, limit: int) -> None:
        self._stream = gzip.GzipFile(fileobj=packed, mode="rb")
        self._limit = limit
        self._position = 0
        self._last = b""

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> None:
        """Skip what comes before the position."""
        if position < self._position:
            raise ValueError("it cannot be read from front to back")
        while self._position < position:
            if not self.read(min(_CHUNK, position - self._position)):
                raise EOFError("it ends within a file")

    def read(self, size: int) -> bytes:
        if size > _LONGEST_READ:
            raise ValueError("a header in it is too long")
        data = self._stream.read(size)
        self._position += len(data)
        if self._position > self._limit:
            expected = f"at most {self._limit:,} bytes when it is unpacked"
            raise too_large(f"The upload has more than {self._limit:,} bytes when it is unpacked.", expected)
        self._last = data or self._last
        return data

    def finish(self) -> None:
        """Read the rest, as the checksum comes last. An archive ends with zeros, and an end within it has none."""
        if self._last.strip(b"\0"):
            raise EOFError("it ends within the archive")
        while self.read(_CHUNK):
            pass


def too_large(message: str, expected: str) -> PayloadTooLarge:
    """Return the error for an upload that is too large in some way."""
    return PayloadTooLarge(message, details=_details("", expected))


def _wrong(path: str, expected: str) -> ProjectError:
    shown = clip(path.encode(errors="surrogateescape").decode(errors="backslashreplace"), _SHOWN)
    return ProjectError(f"{shown!r}: expected {expected}.", details=_details(shown, expected))


def _details(path: str, expected: str) -> dict[str, Any]:
    return {"path": path, "expected": expected, "errors": [{"path": path, "expected": expected}]}


def pack_tree(tree: Path, archive: Path, limits: UploadLimits) -> None:
    """Write the project in `tree`, a file with the body of a request, to `archive` as an upload.

    Raises:
        PayloadTooLarge: It has too many files. They are counted before one is packed.
        BadRequest, ProjectError: It is wrong; the error names the path.
        OSError: The disk failed.
    """
    body = validate_body(CodeTree, parse_json_object(tree.read_bytes()))
    files = [*islice(_files_of(body.code_tree, ()), limits.files + 1)]
    if len(files) > limits.files:
        raise too_large(f"The upload has more than {limits.files:,} files.", f"at most {limits.files:,} files")
    with archive.open("wb") as target, open_bundle(target) as bundle:
        for path, contents in files:
            add_content(bundle, path, contents.encode())


def _files_of(tree: dict[str, Any], above: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield the paths of the files of a tree, with their contents."""
    for name, node in tree.items():
        path = "/".join((*above, name))
        if "/" in name or name in ("", ".", ".."):
            raise field_error(f"codeTree.{path}", "the name of a file or a folder")
        check_name(path)
        match node:
            case {"directory": dict()}:
                yield from _files_of(cast("dict[str, Any]", node["directory"]), (*above, name))
            case {"file": {"contents": str(contents)}}:
                yield path, contents
            case _:
                expected = '{"file": {"contents": text}} or {"directory": {…}}'
                raise field_error(f"codeTree.{path}", expected)
