"""The files of a project that are Jobs and AuthSessions, read and checked, and as a deploy stores them.

See docs/contract.md, section 18:

intuned-resources/jobs/**/<id>.job.json[c]
intuned-resources/auth-sessions/<id>.auth-session.json[c]

They are stored unsealed, like the settings file: parameters of AuthSessions and keys of sinks are among them.
Everything below `projects/` has credentials of its own.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from pydantic_core import from_json

from callboard.projects.manifest import DeployWarning, Stored, parse_stored
from callboard.projects.project_settings import ProjectSettings
from callboard.projects.settings_syntax import SettingsSyntaxError, parse_json
from callboard.schemas.errors import ProjectError
from callboard.schemas.rest.base import RequestModel
from callboard.schemas.rest.field_errors import validation_error
from callboard.schemas.rest.jobs import JobId, UpdateJob
from callboard.schemas.rest.login_parameters import LoginParameters
from callboard.schemas.rest.run_auth_session import AuthSessionId
from callboard.storage import object_keys
from callboard.storage.store import Store


class JobFile(Stored):
    """A Job that is a file of the project."""

    id: str
    file: str
    """Path of the file below the project folder."""
    body: dict[str, Any] = Field(repr=False)
    """The content of the file: what an update of a Job is sent over REST."""


class AuthSessionFile(Stored):
    """An AuthSession that is a file of the project."""

    id: str
    file: str
    """Path of the file below the project folder."""
    parameters: dict[str, Any] = Field(repr=False)
    """What `auth-sessions/create.py` logs in with."""


class Resources(Stored):
    """All such files, stored as `projects/{project}/versions/{version}/resources.json`.

    Files of AuthSessions are in no bundle and do not make another version. So a deploy may replace this artifact of a
    version, unlike the others.
    """

    jobs: tuple[JobFile, ...] = ()
    auth_sessions: tuple[AuthSessionFile, ...] = ()

    def __bool__(self) -> bool:
        """Tell whether there is any file."""
        return bool(self.jobs or self.auth_sessions)


async def read_resources(store: Store, project: str, version: str) -> Resources:
    """Return the Jobs and AuthSessions of a version's files.

    Raises:
        StoreError: The store failed, or the artifact is damaged.
    """
    return parse_stored(Resources, project, await store.get(object_keys.resources(project, version))) or Resources()


_ROOT = "intuned-resources"
_JOBS = f"{_ROOT}/jobs"
AUTH_SESSION_FILES = f"{_ROOT}/auth-sessions"
"""Where files of AuthSessions are, which are in no version of the project."""
_JOB_SUFFIXES = (".job.json", ".job.jsonc")
_AUTH_SESSION_SUFFIXES = (".auth-session.json", ".auth-session.jsonc")

_JOB_ID: TypeAdapter[str] = TypeAdapter(JobId)
_AUTH_SESSION_ID: TypeAdapter[str] = TypeAdapter(AuthSessionId)

_MAX_FILE_SIZE = 1024 * 1024
"""Most bytes of a file, as of the body of a request."""


class _AuthSessionContent(RequestModel):
    parameters: LoginParameters = Field(repr=False)


def find_job_files(folder: Path, settings: ProjectSettings, apis: Collection[str]) -> list[JobFile]:
    """Return the Jobs below `intuned-resources/jobs`, sorted by id.

    Raises:
        ProjectError: A file is not a Job that the project can have; the message names file, path and expectation.
    """
    paths = sorted(path for path in (folder / _JOBS).rglob("*") if path.is_file())
    jobs: list[JobFile] = []
    for job_id, file in _files_by_id(folder, paths, "Job", _JOB_SUFFIXES, _JOB_ID):
        body = _read(folder / file, file)
        _check_job(file, _validate(file, UpdateJob, body), settings, apis)
        jobs.append(JobFile(id=job_id, file=file, body=body))
    return jobs


def find_auth_session_files(folder: Path) -> list[AuthSessionFile]:
    """Return the AuthSessions of `intuned-resources/auth-sessions`, sorted by id.

    `folder` is the project folder itself: a bundle does not have these files, as user code must not read them.

    Raises:
        ProjectError: A file is not an AuthSession; the message names file, path and expectation, and no value.
    """
    found: list[AuthSessionFile] = []
    paths = list_auth_session_paths(folder)
    for each, file in _files_by_id(folder, paths, "AuthSession", _AUTH_SESSION_SUFFIXES, _AUTH_SESSION_ID):
        content = _validate(file, _AuthSessionContent, _read(folder / file, file))
        found.append(AuthSessionFile(id=each, file=file, parameters=content.parameters))
    return found


def list_auth_session_paths(folder: Path) -> list[Path]:
    """Return all files of the project's folder for AuthSessions, sorted."""
    return _files_in(folder / AUTH_SESSION_FILES)


def is_auth_session_file(path: Path) -> bool:
    """Tell whether this path below a project folder is that of such a file."""
    return path.parent.as_posix() == AUTH_SESSION_FILES and path.name.endswith(_AUTH_SESSION_SUFFIXES)


def usable_auth_sessions(settings: ProjectSettings, files: Sequence[AuthSessionFile]) -> tuple[AuthSessionFile, ...]:
    """Return the AuthSessions that Callboard can create: all of them, or none."""
    return tuple(files) if _why_not_created(settings) is None else ()


def check_ignored_resources(
    folder: Path, settings: ProjectSettings, auth_sessions: Sequence[AuthSessionFile]
) -> Iterator[DeployWarning]:
    """Yield warnings about what is below `intuned-resources` and makes neither a Job nor an AuthSession."""
    root = folder / _ROOT
    for entry in sorted(root.iterdir()) if root.is_dir() else ():
        if entry.name not in ("jobs", "auth-sessions"):
            yield DeployWarning(
                file=f"{_ROOT}/{entry.name}", message="ignored, as a deploy makes Jobs and AuthSessions only"
            )
    for path in sorted((folder / _JOBS).rglob("*")):
        if path.is_file() and not path.name.endswith(_JOB_SUFFIXES):
            message = "ignored, as the file of a Job is named ID.job.json or ID.job.jsonc"
            yield DeployWarning(file=path.relative_to(folder).as_posix(), message=message)
    for path in list_auth_session_paths(folder):
        if not path.name.endswith(_AUTH_SESSION_SUFFIXES):
            message = "ignored, as the file of an AuthSession is named ID.auth-session.json or ID.auth-session.jsonc"
            yield DeployWarning(file=path.relative_to(folder).as_posix(), message=message)
    if (reason := _why_not_created(settings)) is not None:
        for each in auth_sessions:
            yield DeployWarning(file=each.file, message=f"ignored, as {reason}")


def _why_not_created(settings: ProjectSettings) -> str | None:
    if not settings.auth_sessions.enabled:
        return "the project uses no AuthSessions (authSessions.enabled is false)"
    if settings.auth_sessions.type == "MANUAL":
        return 'people record the logins of the project (authSessions.type is "MANUAL")'
    return None


def _check_job(file: str, job: UpdateJob, settings: ProjectSettings, apis: Collection[str]) -> None:
    for number, item in enumerate(job.payload):
        if item.api_name not in apis:
            similar = difflib.get_close_matches(item.api_name, apis, n=1)
            hint = f"; is {similar[0]} meant?" if similar else ""
            raise _error(file, f"payload[{number}].apiName", f"an API of the project, which has no such one{hint}")
    if settings.auth_sessions.enabled and job.auth_session is None:
        reason = "as the project uses AuthSessions (authSessions.enabled is true)"
        raise _error(file, "auth_session", f"an object with the id of an AuthSession, {reason}")
    if not settings.auth_sessions.enabled and job.auth_session is not None:
        reason = "as the project uses no AuthSessions (authSessions.enabled is false)"
        raise _error(file, "auth_session", f"no such key, {reason}")


def _validate[M: BaseModel](file: str, model: type[M], data: dict[str, Any]) -> M:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        # A chained error would repeat the value that was found, which may be a secret.
        details = validation_error(error, model).details or {}
        raise _error(file, details["path"], details["expected"]) from None


def _read(path: Path, file: str) -> dict[str, Any]:
    try:
        with path.open("rb") as opened:
            data = opened.read(_MAX_FILE_SIZE + 1)
    except OSError as error:
        raise ProjectError(f"{file}: the file cannot be read: {error.strerror}.") from error
    if len(data) > _MAX_FILE_SIZE:
        raise _error(file, "", f"at most {_MAX_FILE_SIZE:,} bytes")
    try:
        value = _parse(data.decode("utf-8-sig"))
        # JSON with comments allows numbers and halves of characters that JSON forbids.
        from_json(json.dumps(value, allow_nan=False).encode(), allow_inf_nan=False)
    except UnicodeDecodeError:
        raise _error(file, "", "text in UTF-8") from None
    except SettingsSyntaxError as error:
        raise ProjectError(f"{file}: {error}.") from None  # The chained error would show lines of the file.
    except (ValueError, RecursionError):
        raise _error(file, "", "numbers and texts that JSON can hold") from None
    if not isinstance(value, dict):
        raise _error(file, "", "an object")
    return cast("dict[str, Any]", value)


def _parse(text: str) -> object:
    """Parse JSON with comments. Without any, this is quick; the parser that knows them takes a second for 14 kB."""
    try:
        return json.loads(text, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError):
        return parse_json(text)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key occurs twice")  # The other parser says which one.
    return value


def _files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []


def _files_by_id(
    folder: Path, paths: Sequence[Path], what: str, suffixes: tuple[str, ...], rule: TypeAdapter[str]
) -> list[tuple[str, str]]:
    """Return the ids in the names that have such a suffix, sorted, each with the path of the file below the project."""
    found: dict[str, str] = {}
    for path in paths:
        if (suffix := next((suffix for suffix in suffixes if path.name.endswith(suffix)), None)) is None:
            continue
        file = path.relative_to(folder).as_posix()
        try:
            named = rule.validate_python(path.name.removesuffix(suffix))
        except ValidationError as error:
            expected: str = error.errors(include_url=False)[0].get("ctx", {})["expected"]
            raise ProjectError(f"{file}: expected {expected}, before {suffix} in the file's name.") from error
        if named in found:
            raise ProjectError(
                f"{file}: {what} {named!r} is defined by {found[named]} already. Rename one of the files."
            )
        found[named] = file
    return sorted(found.items())


def _error(file: str, path: str, expected: str) -> ProjectError:
    where = f"{file}: {path}" if path else file
    return ProjectError(f"{where}: expected {expected}.", details={"file": file, "path": path, "expected": expected})
