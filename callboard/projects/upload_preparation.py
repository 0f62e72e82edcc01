"""Reading and checking an upload of a project for a deploy, and packing it, in the bounded process.

Nothing of it is executed. `callboard.projects.preparation` does the same for a folder of this host.
"""

from __future__ import annotations

from pathlib import Path

from callboard.projects.built import Built, complete
from callboard.projects.node.compiled import add_compiled
from callboard.projects.preparation import Prepared, bundle_in, files_in, prepare
from callboard.projects.settings_file import read_settings_file
from callboard.projects.upload import UploadLimits, check_project_name, unpack_upload
from callboard.schemas.errors import ProjectError

_LARGEST_BUILD = 16 * 1024**2
"""Most bytes of what a worker with Machines says that it has built, which a control worker reads after this process.
The lists of packages of large projects have some hundred kB."""
_UPLOAD = "upload"
_VERSION = "version"


def version_folder(scratch: Path) -> Path:
    """Return the folder in which the version is prepared: what `bundle_in` and `files_in` are asked about."""
    return scratch / _VERSION


def prepare_upload(archive: Path, project: str, limits: UploadLimits, scratch: Path) -> Prepared:
    """Unpack an upload below `scratch`, and check and pack the folder that this gives; see `prepare`.

    Raises:
        ProjectError, PayloadTooLarge: The upload is wrong, or what is in it.
        OSError: The disk failed.
    """
    (scratch / _UPLOAD).mkdir()
    folder = scratch / _UPLOAD / project  # a project without a name has that of its folder
    unpack_upload(archive, folder, limits)
    version_folder(scratch).mkdir()
    try:
        check_project_name(read_settings_file(folder), project)
        return prepare(folder, version_folder(scratch))
    except ProjectError as error:
        # Messages name the folder, which the author of the project has never seen.
        message = error.message.replace(f"{folder}: ", "").replace(f"{folder}/", "")
        raise ProjectError(message, details=error.details) from error


def complete_upload(
    archive: Path, project: str, limits: UploadLimits, scratch: Path, built: Path, compiled: Path
) -> Prepared:
    """Do what `prepare_upload` does, complete the manifest, and add compiled code; see `complete` and `add_compiled`.

    `built` is a file with what is `Built` of the version, and `compiled` an archive, if it is in TypeScript. Raises the
    same errors as these functions.
    """
    prepared = prepare_upload(archive, project, limits, scratch)
    if built.stat().st_size > _LARGEST_BUILD:
        raise ProjectError(f"What was built has more than {_LARGEST_BUILD // 1024**2} MiB.")
    told = Built.model_validate_json(built.read_bytes())
    if (node := prepared.sources.node) is not None:
        version = version_folder(scratch)
        add_compiled(compiled, list(node.functions), files_in(version), bundle_in(version))
    return prepared.model_copy(update={"manifest": complete(prepared.manifest, prepared.sources, told)})
