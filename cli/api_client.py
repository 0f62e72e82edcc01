"""The API that a command calls: where it is, who may call it, and what it answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, BinaryIO

import httpx

from cli.options import settings_with
from schemas.errors import (
    BadRequest,
    CallboardError,
    ConfigurationError,
    Conflict,
    Forbidden,
    NotFound,
    NotSupported,
    PayloadTooLarge,
    Unauthorized,
    Unavailable,
)

_TIMEOUT = httpx.Timeout(90, connect=10)
"""Seconds. An answer may be waited for, for up to a minute."""

_REFUSALS: dict[int, type[CallboardError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: PayloadTooLarge,
    501: NotSupported,
    503: Unavailable,
}


@dataclass(frozen=True)
class Remote:
    """An API, its workspace, and the key to it."""

    url: str
    workspace: str
    key: str = field(repr=False)
    on_this_host: bool = False
    """It is the embedded stack, on loopback: a proxy of the environment is not meant for it."""

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Call something of the workspace.

        Args:
            method: Of HTTP.
            path: Below the workspace, such as `projects/shop/runs`; its parts percent-encoded.
            body: JSON.
            query: Parameters; a list for one that stands several times.
            headers: More of them.

        Returns:
            The JSON of the answer; None if it has none.

        Raises:
            CallboardError: The API refuses; the message is its own.
            Unavailable: It cannot be reached.
        """
        content = None if body is None else json.dumps(body)

        def ask() -> httpx.Response:
            with self._client(headers) as client:
                return client.request(method, self._place(path), content=content, params=query)

        answer = _aside(ask)
        self._check(answer)
        try:
            return answer.json() if answer.content else None
        except ValueError:
            raise self._no_api(answer) from None

    def fetch(self, path: str, out: BinaryIO) -> None:
        """Write an answer that is a file into another. Errors as for `call`."""

        def copy() -> None:
            with self._client() as client, client.stream("GET", self._place(path)) as answer:
                self._check_stream(answer)
                out.writelines(answer.iter_bytes())

        _aside(copy)
        out.flush()

    @contextmanager
    def lines(self, path: str, headers: Mapping[str, str] | None = None) -> Generator[Generator[str]]:
        """An answer that comes line by line, for as long as the block lasts. Errors as for `call`."""
        with self._client(headers) as client:
            request = client.build_request("GET", self._place(path))
            with closing(_aside(lambda: client.send(request, stream=True))) as answer:
                self._check_stream(answer)
                yield _lines(answer.iter_bytes())

    def _place(self, path: str) -> str:
        return f"{self.url}/api/v1/workspace/{self.workspace}/{path}"

    @contextmanager
    def _client(self, headers: Mapping[str, str] | None = None) -> Generator[httpx.Client]:
        common = {"x-api-key": self.key, "content-type": "application/json"}
        try:
            with httpx.Client(
                timeout=_TIMEOUT, trust_env=not self.on_this_host, headers={**common, **(headers or {})}
            ) as client:
                yield client
        except (httpx.RequestError, httpx.InvalidURL) as error:
            why = str(error) or type(error).__name__
            raise Unavailable(f"The API at {self.url} cannot be reached: {why}. Does it run?") from error

    def _check_stream(self, answer: httpx.Response) -> None:
        if not answer.is_success:
            answer.read()
        self._check(answer)

    def _check(self, answer: httpx.Response) -> None:
        if answer.is_success:
            return
        try:
            said: dict[str, Any] = answer.json()
            message: str = said["message"]
        except (ValueError, LookupError, TypeError):
            raise self._no_api(answer) from None
        raise _REFUSALS.get(answer.status_code, CallboardError)(_all_of(message, said.get("details")))

    def _no_api(self, answer: httpx.Response) -> Unavailable:
        return Unavailable(f"{self.url} answered {answer.status_code}, and not as an API of Callboard does.")


def _all_of(message: str, details: Any) -> str:
    """All that is wrong with a request, where the message tells the first of it and how much more there is."""
    try:
        errors = [f"{each['path']}: expected {each['expected']}." for each in details["errors"]]
    except (LookupError, TypeError):
        return message
    return " ".join(errors) if len(errors) > 1 else message


def _aside[T](work: Callable[[], T]) -> T:
    """Do what makes a request in a thread, and wait for it.

    Ctrl-C raises wherever the main thread is. Within httpx that can be behind a lock and before its release; and then
    to close the client is to wait for that lock for ever.
    """
    ended: SimpleQueue[Future[T]] = SimpleQueue()

    def run() -> None:
        came: Future[T] = Future()
        try:
            came.set_result(work())
        except BaseException as error:  # noqa: BLE001  # raised by whoever waits
            came.set_exception(error)
        ended.put(came)

    Thread(target=run, name="request", daemon=True).start()
    return ended.get().result()


def _lines(chunks: Iterable[bytes]) -> Generator[str]:
    """Split at line feeds alone. httpx would split wherever Python sees the end of a line, also within JSON."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.decode("utf-8", "replace")
    if rest:
        yield rest.decode("utf-8", "replace")


def remote(*, url: str | None, key: str | None, data: Path | None) -> Remote:
    """The API that the options, else the environment, else the running `callboard dev` name.

    Raises:
        ConfigurationError: There is no key, or it cannot be one.
        Unavailable: None of them names one.
    """
    settings = settings_with(url=url, data_dir=data, api_key=key)
    given = None if settings.api_key is None else _checked(settings.api_key.get_secret_value())
    if data is not None and url is None:
        # That stack is meant, and not what the environment's address and key lead to.
        return _of_dev(settings.data_dir, None if key is None else given)
    if settings.url is None:
        return _of_dev(settings.data_dir, given)
    if given is None:
        raise ConfigurationError(
            f"There is no key to the API at {settings.url}: set CALLBOARD_API_KEY to one of its keys."
        )
    return Remote(settings.url.rstrip("/"), settings.workspace, given)


def _of_dev(data: Path, key: str | None) -> Remote:
    folder = data.expanduser()
    try:
        card: dict[str, Any] = json.loads((folder / "dev.json").read_bytes())
    except OSError as error:
        raise Unavailable(
            f"No `callboard dev` runs on {folder}. Start it, name its data folder with --data, or set CALLBOARD_URL "
            "and CALLBOARD_API_KEY to call another API."
        ) from error
    return Remote(card["url"], card["workspaceId"], key or card["apiKey"], on_this_host=True)


def _checked(key: str) -> str:
    # Said here: the libraries below would quote it.
    if not key.isascii() or not key.isprintable() or key != key.strip():
        raise ConfigurationError(
            "The key to the API has a space, a line end or another character that no key has. Set CALLBOARD_API_KEY to "
            "the key alone."
        )
    return key
