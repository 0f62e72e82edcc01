"""What the pages tell of AuthSessions, and from their forms to the bodies of the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.pages.form_reader import FormReader
from api.parts import Parts
from contract.flow.auth_session import AuthSessionView
from contract.flow.run import RunType
from engine.listing import RunFilter, RunLine
from projects.dotenv import DevFolders
from projects.manifest import Manifest
from projects.samples import Sample, login_samples
from projects.threads import in_thread

_VALIDATES = 100
"""Of these, the newest of each AuthSession is shown."""


async def auth_sessions_data(parts: Parts, project: str) -> list[dict[str, Any]]:
    """All of a project, each with its last Validate, if that is among the last hundred. Raises Unavailable."""
    workspace = parts.settings.workspace
    views = await parts.auth_sessions.views(workspace, project)
    if not views:
        return []
    wanted = RunFilter(types=frozenset({RunType.AUTH_SESSION_VALIDATE}))
    found = await parts.records.page(workspace, project, wanted, limit=_VALIDATES)
    last: dict[str | None, RunLine] = {}
    for line in sorted(found.runs, key=lambda line: line.created_at):
        last[line.auth_session_id] = line
    return [_data(view, last.get(view.id)) for view in views]


def _data(view: AuthSessionView, last: RunLine | None) -> dict[str, Any]:
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
    """The body of a create (with an id, if one is given) or of an update.

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
    """The body of an import. Raises BadRequest."""
    reader = FormReader(form)
    body: dict[str, Any] = {"state": reader.json("state", "state")}
    reader.put(body, "id", reader.text("id"))
    reader.finish()
    return body


async def samples_of_logins(parts: Parts, manifest: Manifest) -> tuple[Sample, ...]:
    """What the project's folder has for making logins: where there is one, which is in `dev`. Raises ProjectError."""
    parent = parts.settings.dev_projects
    if parent is None:
        return ()
    folder = await in_thread(lambda: DevFolders(parent).folder(manifest.project))
    return () if folder is None else await in_thread(login_samples, folder)
