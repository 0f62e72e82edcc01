"""`callboard deploy`: publish a project folder as a version."""

from __future__ import annotations

import asyncio
import dataclasses
import getpass
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from callboard.cli.api_client import ApiClient, find_api, quote_segment
from callboard.cli.environments import open_environments
from callboard.cli.options import DataFolder, load_settings
from callboard.cli.output import print_message
from callboard.cli.polling import status_line, wait_for_deploy
from callboard.cli.with_api import Key
from callboard.projects.bounded import run_bounded
from callboard.projects.deploy import deploy as deploy_folder
from callboard.projects.files import folders_of
from callboard.projects.manifest import DeployWarning
from callboard.projects.settings_file import read_settings, resolve_project_name
from callboard.projects.upload import pack_upload
from callboard.schemas.errors import BadRequest, NotFound, ProjectError
from callboard.storage.factory import open_store

_CHUNK = 256 * 1024

_GIT_TIMEOUT = 10
"""Seconds that git gets for each answer."""


def deploy(
    project_dir: Annotated[Path, typer.Argument(metavar="DIR", help="Project folder.")],
    url: Annotated[
        str | None, typer.Option(help="Address of the API that the project is sent to. Default: CALLBOARD_URL.")
    ] = None,
    key: Key = None,
    artifacts: Annotated[
        str | None,
        typer.Option(
            help="Artifact store to write to, without an API. Default: CALLBOARD_ARTIFACTS, else in the data folder."
        ),
    ] = None,
    message: Annotated[str | None, typer.Option("-m", "--message", help="What the deploy is about.")] = None,
    no_promote: Annotated[
        bool, typer.Option("--no-promote", help="Only store the version; `callboard projects promote` deploys it.")
    ] = False,
    data: DataFolder = None,
) -> None:
    """Deploy a project folder as a new version. Runs in flight keep their version.

    The project is sent to an API if there is the address of one, and else written to an artifact store, which takes
    the store's credentials. An API, a store or a data folder has to be named.
    """
    settings = load_settings(artifacts=artifacts, data_dir=data, url=url)
    by_store = artifacts is not None or data is not None
    if by_store and (url is not None or key is not None):
        raise typer.BadParameter("--artifacts and --data are for a deploy without an API: leave out --url and --key.")
    if not by_store and settings.url is not None:
        _send(find_api(url=url, key=key, data=None), project_dir, message, promote=not no_promote)
        return
    if key is not None:
        raise typer.BadParameter("--key is for an API: pass --url, too, or set CALLBOARD_URL.")
    if settings.model_fields_set.isdisjoint(("artifacts", "data_dir")):
        raise BadRequest(
            "Where the project is to be deployed is not said. Pass --url, or set CALLBOARD_URL, to send it to an API; "
            "--artifacts, or CALLBOARD_ARTIFACTS, to write it to an artifact store; --data, or CALLBOARD_DATA_DIR, to "
            "write it to the store in a data folder of this host."
        )
    location = settings.artifact_location
    environments = open_environments(settings)
    store = open_store(location, endpoint=settings.artifacts_endpoint)
    manifest = asyncio.run(
        deploy_folder(
            project_dir,
            store,
            environments,
            max_machines=settings.max_machines,
            by=f"{_user()}@{socket.gethostname()}",
            message=message,
            commit=find_commit(project_dir),
            promote=not no_promote,
        )
    )
    _report(manifest.project, manifest.version, location, manifest.apis, promoted=not no_promote)
    _warn(map(str, manifest.warnings))


def _send(api: ApiClient, folder: Path, message: str | None, *, promote: bool) -> None:
    """Send the project to the API, have it deployed there, and report what became of it.

    Raises:
        ProjectError: The project cannot be deployed.
        CallboardError: The API refuses, or cannot be reached.
    """
    target = dataclasses.replace(api, project=resolve_project_name(folder, read_settings(folder)))
    upload, left_out = _upload(target, folder)
    request = {"id": upload, "message": message, "commit": find_commit(folder), "promote": promote}
    started = target.request("POST", "deploy", {name: value for name, value in request.items() if value is not None})
    result = wait_for_deploy(target, started["id"])
    if result["status"] != "completed":
        raise ProjectError(result.get("reason") or result["message"])
    _report(target.project, result["version"], api.url, result["apis"], promoted=promote)
    resources: dict[str, Any] = result["resources"] or {}
    for name, kind in (("Jobs", "jobs"), ("AuthSessions", "authSessions")):
        changes: dict[str, list[str]] = resources.get(kind) or {}
        for verb in ("created", "updated", "removed"):
            if changes.get(verb):
                typer.echo(f"{name} {verb}: {', '.join(changes[verb])}")
        _warn(changes.get("refused", []))
    if resources.get("status", "completed") != "completed":
        _warn(["its Jobs and AuthSessions do not agree with its files yet; workers go on with that"])
    # The API has never seen what is left out.
    _warn([*map(str, left_out), *result["warnings"]])


def _upload(target: ApiClient, folder: Path) -> tuple[str, list[DeployWarning]]:
    """Send the project, and return the id of the upload, and a warning for each API that is left out."""
    what = f"Sending {target.project}"
    with tempfile.TemporaryDirectory(prefix="callboard-upload-") as scratch, status_line(what) as line:
        archive, folders = Path(scratch) / "upload.tar.gz", folders_of(folder)
        left_out = asyncio.run(run_bounded(pack_upload, folders[0], archive, read=folders, write=[archive.parent]))
        size = archive.stat().st_size

        def read() -> Iterator[bytes]:
            with archive.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    yield chunk
                    if line:
                        line.update(Text(f"{what}: {file.tell() / 1e6:.1f} of {size / 1e6:.1f} MB"))

        api = dataclasses.replace(target, project="")
        try:
            answer = api.upload("PUT", f"projects/{quote_segment(target.project)}", read(), "application/gzip")
        except NotFound as error:
            raise NotFound(f"{error.message} A key for some projects deploys only these.") from error
        except BadRequest as error:
            raise ProjectError(error.message) from error  # not the command line is wrong, but the project
    return answer["id"], left_out


def _report(project: str, version: str, where: str, apis: Iterable[str], *, promoted: bool) -> None:
    done, at = ("Deployed", "to") if promoted else ("Stored", "at")
    typer.echo(f"{done} {project}, version {version}, {at} {where}")
    typer.echo(f"APIs: {', '.join(apis)}")


def _warn(sentences: Iterable[str]) -> None:
    for sentence in sentences:
        print_message(f"warning: {sentence}", "yellow")


def _user() -> str:
    """Return who deploys. In a container, a user need not have a name."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # the second one is that of Python 3.12
        return str(os.getuid())


def find_commit(folder: Path) -> str | None:
    """Return the git commit of a folder, with `-dirty` if its files differ from it; None if git knows of none."""
    git = shutil.which("git")
    if git is None or not folder.is_dir():
        return None

    # Settings of the repository may name programs, and a deploy executes nothing of a project.
    variables = {"GIT_NO_LAZY_FETCH": "1"}

    def ask(*arguments: str) -> str | None:
        command = [git, "-c", "core.fsmonitor=false", "--no-optional-locks", "-C", str(folder), *arguments]
        try:
            asked = subprocess.run(
                command,
                check=False,
                capture_output=True,
                text=True,
                timeout=_GIT_TIMEOUT,
                env={**os.environ, **variables},
            )
        except subprocess.TimeoutExpired:
            return None
        return asked.stdout.strip("\n") if asked.returncode == 0 else None

    filters = ask("config", "--null", "--name-only", "--get-regexp", r"^filter\..*\.(clean|process|required)$") or ""
    others = os.environ.get("GIT_CONFIG_COUNT", "0")
    for number, name in enumerate(filter(None, filters.split("\0")), int(others) if others.isdigit() else 0):
        variables |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": ""}
        variables["GIT_CONFIG_COUNT"] = str(number + 1)
    commit = ask("rev-parse", "--verify", "HEAD")
    return commit and (
        f"{commit}-dirty" if ask("status", "--porcelain", "--ignore-submodules=dirty", "--", ".") != "" else commit
    )
