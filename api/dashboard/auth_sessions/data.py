"""The data of the page of AuthSessions, and conversion of its forms to bodies of the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.dashboard.forms import FormReader
from api.dependencies import Services
from projects.dotenv import DevFolders
from projects.manifest import Manifest
from projects.processes import run_in_thread
from projects.samples import Sample, read_auth_session_samples
from schemas.workflow.auth_session import AuthSessionView
from schemas.workflow.run import RunType
from temporal.listing import RunFilter, RunListItem

_SEARCHED_VALIDATES = 100
"""Number of a project's latest Validates among which the newest one of each AuthSession is looked for."""


async def auth_sessions_data(services: Services, project: str) -> list[dict[str, Any]]:
    """Return all AuthSessions of a project, each with its last Validate, if that is among the last hundred.

    Raises Unavailable.
    """
    workspace = services.settings.workspace
    views = await services.auth_sessions.list_all(workspace, project)
    if not views:
        return []
    run_filter = RunFilter(types=frozenset({RunType.AUTH_SESSION_VALIDATE}))
    page = await services.run_queries.list_runs(workspace, project, run_filter, limit=_SEARCHED_VALIDATES)
    last_validate: dict[str | None, RunListItem] = {}
    for run in sorted(page.runs, key=lambda run: run.created_at):
        last_validate[run.auth_session_id] = run
    return [_session_data(view, last_validate.get(view.id)) for view in views]


def _session_data(view: AuthSessionView, last_validate: RunListItem | None) -> dict[str, Any]:
    validate = None
    if last_validate is not None:
        validate = {
            "runId": last_validate.run_id,
            "status": last_validate.status.value,
            "createdAt": last_validate.created_at.isoformat(),
        }
    return {
        "id": view.id,
        "type": view.type.value,
        "status": view.status.value,
        "fromFile": view.from_file,
        "createdAt": view.created_at.isoformat(),
        "updatedAt": view.updated_at.isoformat(),
        "lastValidate": validate,
    }


def credentials_body(form: Mapping[str, str], *, with_id: bool) -> dict[str, Any]:
    """Return the body of the create or update that a form describes.

    Args:
        form: The fields of the form.
        with_id: Whether the body may have an id, as that of a create; it has one if the form gives one.

    Raises:
        BadRequest: The text of a field is invalid.
    """
    reader = FormReader(form)
    body: dict[str, Any] = {"parameters": reader.json("parameters", "parameters")}
    if with_id:
        reader.set_if_given(body, "id", reader.text("id"))
    reader.set_if_given(body, "proxy", reader.text("proxy"))
    for name in ("createAttempts", "checkAttempts", "requestTimeout"):
        reader.set_if_given(body, name, reader.number(name, name))
    reader.raise_if_invalid()
    return body


def import_body(form: Mapping[str, str]) -> dict[str, Any]:
    """Return the body of the import that a form describes. Raises BadRequest."""
    reader = FormReader(form)
    body: dict[str, Any] = {"state": reader.json("state", "state")}
    reader.set_if_given(body, "id", reader.text("id"))
    reader.raise_if_invalid()
    return body


async def login_sample_parameters(services: Services, manifest: Manifest) -> tuple[Sample, ...]:
    """Return the sample parameters for logins in the project's folder; there is a folder only in `dev`.

    Raises ProjectError.
    """
    parent = services.settings.dev_projects
    if parent is None:
        return ()
    folder = await run_in_thread(lambda: DevFolders(parent).folder(manifest.project))
    return () if folder is None else await run_in_thread(read_auth_session_samples, folder)
