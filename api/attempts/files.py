"""The files that Attempts have left, as they are told and given out (docs/contract.md, section 12.7)."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import Response

from api.attempts.artifacts import artifact_not_found, find_file, read_record, require_record
from api.attempts.trace_viewer import has_trace_viewer, viewer_origin
from api.dependencies import Services
from callboard.schemas.errors import NotFound
from callboard.schemas.rest.files import LinkedFile, LinkedFiles
from callboard.schemas.workflow.attempt import RecordedFile
from callboard.schemas.workflow.run import RunOutcome
from callboard.security.signed_links import link_files

_PREVIEWED = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "text/plain", "text/csv"})
_LARGEST_PREVIEW = 5 * 1024 * 1024
"""Most bytes of a file that a browser is asked to show."""


async def list_files(request: Request, services: Services, project: str, run_id: str, number: int) -> LinkedFiles:
    """Return the files of an Attempt, each with a link that needs no key.

    Raises:
        NotFound: There is no such Attempt.
        StoreError: The store failed.
    """
    record = await require_record(services, project, run_id, number)
    return LinkedFiles(files=_linked(request, services, (project, run_id, number), record.files))


async def files_of_run(
    request: Request, services: Services, project: str, run_id: str, outcome: RunOutcome | None
) -> list[LinkedFile]:
    """Return the files of a Run, which are those of its last Attempt. If there are none, the store is not asked.

    Raises StoreError.
    """
    if outcome is None or not outcome.files:
        return []
    record = await read_record(services, project, run_id, outcome.attempts)
    return [] if record is None else _linked(request, services, (project, run_id, outcome.attempts), record.files)


async def file_response(services: Services, project: str, run_id: str, number: int, name: str) -> Response:
    """Return a file of an Attempt as an attachment; a part of it, if the request asks for a range.

    Raises:
        NotFound: There is no such Attempt, or it has left no such file.
        StoreError: The store failed.
    """
    found = await find_file(services.store, project, run_id, number, name)
    if found is None:
        raise artifact_not_found(await require_record(services, project, run_id, number), "file of this name", "files")
    return found


async def preview_response(services: Services, project: str, run_id: str, number: int, name: str) -> Response:
    """Return a picture or a text for a page to show, as what its name says that it is.

    Raises:
        NotFound: There is no such file, or it is none of these.
        StoreError: The store failed.
    """
    record = await require_record(services, project, run_id, number)
    file = next(
        (each for each in record.files if each.name == name and is_previewed(each.content_type, each.size)), None
    )
    if file is None:
        raise NotFound(f"Attempt {number} of Run {run_id} has left no picture or text of this name that can be shown.")
    answer = await file_response(services, project, run_id, number, name)
    answer.headers["content-disposition"] = "inline"
    if file.content_type.startswith("text/"):
        answer.headers["content-type"] = "text/plain; charset=utf-8"
    return answer


def is_previewed(content_type: str, size: int) -> bool:
    """Tell whether a page shows such a file: raster pictures and texts, of which a browser executes nothing."""
    return content_type in _PREVIEWED and size <= _LARGEST_PREVIEW


def _linked(
    request: Request, services: Services, attempt: tuple[str, str, int], files: tuple[RecordedFile, ...]
) -> list[LinkedFile]:
    origin = viewer_origin(request, services.settings) if has_trace_viewer(services.settings) else None
    return link_files(files, services.settings.workspace, *attempt, origin=origin, ring=services.ring)
