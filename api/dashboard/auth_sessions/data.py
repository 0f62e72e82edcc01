"""Data that the pages show of AuthSessions, and conversion of their forms to bodies of the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.dashboard.form_reader import FormReader
from api.dependencies import Services
from projects.dotenv import DevFolders
from projects.manifest import Manifest
from projects.samples import Sample, login_samples
from projects.threads import in_thread
from schemas.workflow.auth_session import AuthSessionView
from schemas.workflow.run import RunType
from temporal.listing import RunFilter, RunListItem

_VALIDATES = 100
"""Number of a project's latest Validates among which the newest one of each AuthSession is looked for."""


async def auth_sessions_data(parts: Services, project: str) -> list[dict[str, Any]]:
    """Return all AuthSessions of a project, each with its last Validate, if that is among the last hundred.

    Raises Unavailable.
    """
    workspace = parts.settings.workspace
    views = await parts.auth_sessions.views(workspace, project)
    if not views:
        return []
    wanted = RunFilter(types=frozenset({RunType.AUTH_SESSION_VALIDATE}))
    found = await parts.records.page(workspace, project, wanted, limit=_VALIDATES)
    last: dict[str | None, RunListItem] = {}
    for line in sorted(found.runs, key=lambda line: line.created_at):
        last[line.auth_session_id] = line
    return [_data(view, last.get(view.id)) for view in views]


def _data(view: AuthSessionView, last: RunListItem | None) -> dict[str, Any]:
    validate = None
    if last is not None:
        validate = {"runId": last.run_id, "status": last.status.value, "createdAt": last.created_at.isoformat()}
    return {
        "id": view.id,
        "type": view.type.value,
        "status": view.status.value,
        "createdAt": view.created_at.isoformat(),
        "updatedAt": view.updated_at.isoformat(),
        "lastValidate": validate,
    }


def login_body(form: Mapping[str, str], *, named: bool) -> dict[str, Any]:
    """Return the body of a create or an update that a form stands for.

    Args:
        form: The fields of the form.
        named: Whether the body may have an id, as that of a create; it has one if the form gives one.

    Raises:
        BadRequest: Some text is not what its field takes.
    """
    reader = FormReader(form)
    body: dict[str, Any] = {"parameters": reader.json("parameters", "parameters")}
    if named:
        reader.put(body, "id", reader.text("id"))
    reader.put(body, "proxy", reader.text("proxy"))
    for name in ("createAttempts", "checkAttempts", "requestTimeout"):
        reader.put(body, name, reader.number(name, name))
    reader.finish()
    return body


def import_body(form: Mapping[str, str]) -> dict[str, Any]:
    """Return the body of an import that a form stands for. Raises BadRequest."""
    reader = FormReader(form)
    body: dict[str, Any] = {"state": reader.json("state", "state")}
    reader.put(body, "id", reader.text("id"))
    reader.finish()
    return body


async def samples_of_logins(parts: Services, manifest: Manifest) -> tuple[Sample, ...]:
    """Return the sample parameters for logins in the project's folder; there is a folder only in `dev`.

    Raises ProjectError.
    """
    parent = parts.settings.dev_projects
    if parent is None:
        return ()
    folder = await in_thread(lambda: DevFolders(parent).folder(manifest.project))
    return () if folder is None else await in_thread(login_samples, folder)
