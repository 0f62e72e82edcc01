"""Reading of an upload in a process of its own: `python -m projects.upload_process ORDER`.

An upload, and what is in it, can be made to cost any time and memory, or to break a parser of Python's own. So neither
an api nor a worker reads one itself. Nothing of the upload is executed in the process either, and it needs no network.
"""

from __future__ import annotations

import os
import resource
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from machines.package_box import kept
from projects.build import Built
from projects.code_tree import pack_tree
from projects.preparation import Prepared, complete, prepare
from projects.processes import run_process
from projects.settings_file import read_settings_file
from projects.upload import UploadLimits, check_project_name, check_upload, unpack_upload
from schemas.errors import BadRequest, MachineError, PayloadTooLarge, ProjectError, StoreError
from schemas.workflow.base import clip

_MEMORY = 2 * 1024**3
"""Bytes of address space that the process may have: the parsers of a large project take some hundred MB."""
_TIMEOUT = timedelta(minutes=5)
"""How long it may take; of the processor's time, it gets no more."""
_SHOWN = 300
"""Most characters of a reason that are shown."""
_LARGEST_BUILD = 16 * 1024**2
"""Most bytes of what a worker with Machines says that it has built, which a control worker reads after this process.
The lists of packages of large projects have some hundred kB."""
_UPLOAD = "upload"


class _Order(BaseModel):
    """What the process is to do."""

    model_config = ConfigDict(extra="forbid")

    archive: Path
    project: str
    limits: UploadLimits
    tree: Path | None = None
    """A file with the project as JSON, from which the archive is packed first. None: the archive has come as it is."""
    scratch: Path | None = None
    """Where to prepare the version, in a new folder. None: the upload is only checked."""
    built: Path | None = None
    """A file with what is `Built` of the version, by which its manifest is completed. None: it is not."""


class _Answer(BaseModel):
    """What came of it: nothing, if the upload was only checked; or what is prepared; or what is wrong."""

    prepared: Prepared | None = None
    refused: str | None = None
    too_large: bool = False
    failed: str | None = None
    """What is wrong with this host, and not with the upload."""
    details: dict[str, Any] | None = None


async def check_in_process(archive: Path, project: str, limits: UploadLimits, tree: Path | None = None) -> None:
    """Check an upload; see `check_upload`. If it has come as a `tree`, pack it into `archive` first; see `pack_tree`.

    Raises:
        ProjectError, PayloadTooLarge: The upload is wrong.
        MachineError: The process cannot be started, or the disk has failed.
    """
    await _run(_Order(archive=archive, project=project, limits=limits, tree=tree))


async def prepare_in_process(archive: Path, project: str, limits: UploadLimits, scratch: Path) -> Prepared:
    """Unpack an upload below `scratch`, and check and pack the folder that this gives; see `prepare`.

    Raises:
        ProjectError, PayloadTooLarge: The upload is wrong, or what is in it.
        MachineError: The process cannot be started, or the disk has failed.
    """
    return await _prepared(_Order(archive=archive, project=project, limits=limits, scratch=scratch))


async def complete_in_process(
    archive: Path, project: str, limits: UploadLimits, scratch: Path, built: Path
) -> Prepared:
    """Do what `prepare_in_process` does, and complete the manifest; see `complete`. Raises the same errors.

    `built` is a file with what is `Built` of the version.
    """
    return await _prepared(_Order(archive=archive, project=project, limits=limits, scratch=scratch, built=built))


async def _prepared(order: _Order) -> Prepared:
    prepared = (await _run(order)).prepared
    if prepared is None:
        raise MachineError("The process that was to prepare an upload has not told what it has found.")
    return prepared


async def _run(order: _Order) -> _Answer:
    command = kept([sys.executable, "-I", "-m", "projects.upload_process", order.model_dump_json()])
    try:
        ended = await run_process(command, cwd=Path("/"), environment={"LANG": "C.UTF-8"}, timeout=_TIMEOUT)
    except TimeoutError:
        raise ProjectError(
            f"The upload cannot be read within {_TIMEOUT.total_seconds() / 60:g} minutes. Is everything in it needed?"
        ) from None
    except OSError as error:
        raise MachineError(f"The process that reads uploads cannot be started: {error.strerror}.") from error
    if ended.code:
        # A parser has died of it, or it has reached a limit.
        reason = next(reversed(ended.stderr.strip().splitlines()), f"exit code {ended.code}")
        raise ProjectError(
            f"The upload takes more time or memory than an upload may, or breaks a parser: {clip(reason, _SHOWN)}."
        )
    answer = _Answer.model_validate_json(ended.stdout)
    if answer.failed is not None:
        raise MachineError(f"The upload cannot be read here: {answer.failed.rstrip('.')}.")
    if answer.refused is not None:
        raise (PayloadTooLarge if answer.too_large else ProjectError)(answer.refused, details=answer.details)
    return answer


def _carry_out(order: _Order) -> _Answer:
    if order.tree is not None:
        pack_tree(order.tree, order.archive, order.limits)
    if order.scratch is None:
        check_upload(order.archive, order.project, order.limits)
        return _Answer()
    (order.scratch / _UPLOAD).mkdir()
    folder = order.scratch / _UPLOAD / order.project  # a project without a name has that of its folder
    unpack_upload(order.archive, folder, order.limits)
    version = version_folder(order.scratch)
    try:
        check_project_name(read_settings_file(folder), order.project)
        prepared = prepare(folder, version)
        if order.built is not None:
            if order.built.stat().st_size > _LARGEST_BUILD:
                raise ProjectError(f"What was built has more than {_LARGEST_BUILD // 1024**2} MiB.")
            built = Built.model_validate_json(order.built.read_bytes())
            prepared = prepared.model_copy(update={"manifest": complete(prepared, built, version)})
    except ProjectError as error:
        # Messages name the folder, which the author of the project has never seen.
        message = error.message.replace(f"{folder}: ", "").replace(f"{folder}/", "")
        raise ProjectError(message, details=error.details) from error
    return _Answer(prepared=prepared)


def version_folder(scratch: Path) -> Path:
    """Return the folder in which the version is prepared: what `bundle_in` and `files_in` are asked about."""
    return scratch / "version"


def main() -> None:
    """Carry out an order within limits, and print what came of it."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    seconds = int(_TIMEOUT.total_seconds())
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):  # If memory ends, this process is to go, and not the one that has started it.
        Path("/proc/self/oom_score_adj").write_text("1000")
    os.umask(0o077)
    try:
        answer = _carry_out(_Order.model_validate_json(sys.argv[1]))
    except (ProjectError, BadRequest) as error:
        too_large = isinstance(error, PayloadTooLarge)
        answer = _Answer(refused=error.message, too_large=too_large, details=error.details)
    except (StoreError, OSError) as error:
        answer = _Answer(failed=str(error))
    print(answer.model_dump_json())  # noqa: T201


if __name__ == "__main__":
    main()
