"""The API that a command calls: where it is, who may call it, and what it answers."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import httpx
import typer

from cli.given import settings_with
from contract.errors import CallboardError, ConfigurationError, Unavailable

Url = Annotated[
    str | None,
    typer.Option(help="Address of the API. Default: CALLBOARD_URL, else the `callboard dev` on the data folder."),
]
Data = Annotated[
    Path | None,
    typer.Option(help="Data folder of `callboard dev`. Default: CALLBOARD_DATA_DIR, else ~/.local/share/callboard."),
]
Project = Annotated[str, typer.Option("--project", "-p", help="Name of the project.")]

_TIMEOUT = 60.0


@dataclass(frozen=True)
class Remote:
    """An API, its workspace, and the key to it."""

    url: str
    workspace: str
    key: str = field(repr=False)
    on_this_host: bool = False
    """It is the embedded stack, on loopback: a proxy of the environment is not meant for it."""

    def call(self, method: str, project: str, path: str, body: Any = None) -> Any:
        """Call something of a project.

        Args:
            method: Of HTTP.
            project: Its name.
            path: Below the project, such as `auth-sessions/import`; its parts percent-encoded.
            body: JSON.

        Returns:
            The JSON of the answer; None if it has none.

        Raises:
            CallboardError: The API refuses; the message is its own.
            Unavailable: It cannot be reached.
        """
        url = f"{self.url}/api/v1/workspace/{self.workspace}/projects/{quote(project, safe='')}/{path}"
        try:
            with httpx.Client(timeout=_TIMEOUT, trust_env=not self.on_this_host) as client:
                content = None if body is None else json.dumps(body)
                headers = {"x-api-key": self.key, "content-type": "application/json"}
                answer = client.request(method, url, content=content, headers=headers)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            why = str(error) or type(error).__name__
            raise Unavailable(f"The API at {self.url} cannot be reached: {why}. Does it run?") from error
        if not answer.is_success:
            raise _refusal(answer, self.url)
        return answer.json() if answer.content else None


def remote(*, url: str | None, data: Path | None) -> Remote:
    """The API that the options, else the environment, else the running `callboard dev` name.

    Raises:
        ConfigurationError: None of them does, or there is no key.
    """
    settings = settings_with(url=url, data_dir=data)
    key = None if settings.api_key is None else settings.api_key.get_secret_value()
    if settings.url is not None:
        if key is None:
            raise ConfigurationError(
                f"There is no key to the API at {settings.url}: set CALLBOARD_API_KEY to one of its keys."
            )
        return Remote(settings.url.rstrip("/"), settings.workspace, key)
    folder = settings.data_dir.expanduser()
    try:
        card: dict[str, Any] = json.loads((folder / "dev.json").read_bytes())
    except OSError as error:
        raise ConfigurationError(
            f"No `callboard dev` runs on {folder}. Start it, name its data folder with --data, or set CALLBOARD_URL "
            "and CALLBOARD_API_KEY to call another API."
        ) from error
    return Remote(card["url"], card["workspaceId"], key or card["apiKey"], on_this_host=True)


def _refusal(answer: httpx.Response, url: str) -> CallboardError:
    try:
        message: str = answer.json()["message"]
    except (ValueError, LookupError, TypeError):
        message = f"{url} answered {answer.status_code}, and not as an API of Callboard does."
    return CallboardError(message)
