"""A client of the API that a command calls: its address, its key, and requests to it."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import Any, BinaryIO
from urllib.parse import quote

import httpx

from callboard.cli.options import load_settings
from callboard.dev.data_folder import read_connection
from callboard.schemas.errors import (
    BadRequest,
    CallboardError,
    ConfigurationError,
    Conflict,
    Forbidden,
    NotFound,
    PayloadTooLarge,
    TooMany,
    Unauthorized,
    Unavailable,
)

_TIMEOUT = httpx.Timeout(90, connect=10)
"""Timeouts of requests in seconds. The API may hold a request for up to a minute before it answers."""

_ERRORS_BY_STATUS = {
    kind.status: kind
    for kind in (BadRequest, Unauthorized, Forbidden, NotFound, Conflict, PayloadTooLarge, TooMany, Unavailable)
}


def quote_segment(text: str) -> str:
    """Return a name, percent-encoded, as one part of a path."""
    return quote(text, safe="")


@dataclass(frozen=True)
class ApiClient:
    """An API, its workspace, the key to it, and the project that a command is for."""

    url: str
    workspace: str
    key: str = field(repr=False)
    project: str = ""
    """Project that all paths of requests are below; empty if they are below the workspace."""
    on_this_host: bool = False
    """Whether it is the embedded stack on loopback, for which proxies of the environment are not used."""

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Send a request about the project or the workspace, and return the JSON of the answer.

        Args:
            method: The HTTP method.
            path: Path below the project or the workspace, such as `runs`, with its parts percent-encoded.
            body: Value to send as JSON; None sends no body.
            query: Query parameters; the value is a list if a parameter occurs several times.
            headers: Additional headers.

        Returns:
            The JSON of the answer, or None if the answer is empty.

        Raises:
            CallboardError: The API refuses the request; the message is the API's own.
            Unavailable: The API cannot be reached, or the answer is not that of a Callboard API.
        """
        return self._send(method, path, None if body is None else json.dumps(body), query, headers)

    def upload(self, method: str, path: str, content: Iterable[bytes], content_type: str) -> Any:
        """Send a request whose body is written as it is read; return and raise the same as `request`."""
        return self._send(method, path, content, None, {"content-type": content_type})

    def _send(
        self,
        method: str,
        path: str,
        content: str | Iterable[bytes] | None,
        query: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None,
    ) -> Any:
        def ask() -> httpx.Response:
            with self._client(headers) as client:
                return client.request(method, self._url(path), content=content, params=query)

        answer = _run_in_thread(ask)
        self._raise_for_status(answer)
        try:
            return answer.json() if answer.content else None
        except ValueError:
            raise self._not_callboard(answer) from None

    def find_redirect(self, page: str) -> str:
        """Return the address to which a page of the dashboard redirects; raise the same errors as `request`."""

        def ask() -> httpx.Response:
            with self._client({"accept": "application/json"}) as client:
                return client.get(f"{self.url}/{page}")

        answer = _run_in_thread(ask)
        if not answer.is_redirect:
            self._raise_for_status(answer)
            raise self._not_callboard(answer)
        return answer.headers["location"]

    def download(self, path: str, out: BinaryIO) -> None:
        """Write an answer that is a file to `out`; raise the same errors as `request`."""

        def copy() -> None:
            with self._client() as client, client.stream("GET", self._url(path)) as answer:
                self._raise_for_stream_status(answer)
                out.writelines(answer.iter_bytes())

        _run_in_thread(copy)
        out.flush()

    @contextmanager
    def stream_lines(self, path: str, headers: Mapping[str, str] | None = None) -> Generator[Generator[str]]:
        """Open an answer that comes line by line until the block ends; raise the same errors as `request`."""

        def open_answer() -> tuple[httpx.Response, ExitStack]:
            with ExitStack() as opened:
                client = opened.enter_context(self._client(headers))
                request = client.build_request("GET", self._url(path))
                answer = opened.enter_context(closing(client.send(request, stream=True)))
                return answer, opened.pop_all()

        answer, opened = _run_in_thread(open_answer, discard=lambda came: came[1].close())
        with opened:
            self._raise_for_stream_status(answer)
            yield _split_lines(answer.iter_bytes())

    def _url(self, path: str) -> str:
        below = f"projects/{quote_segment(self.project)}/" if self.project else ""
        return f"{self.url}/api/v1/workspace/{self.workspace}/{below}{path}"

    @contextmanager
    def _client(self, headers: Mapping[str, str] | None = None) -> Generator[httpx.Client]:
        common = {"x-api-key": self.key, "content-type": "application/json"}
        try:
            with httpx.Client(
                timeout=_TIMEOUT,
                trust_env=not self.on_this_host,
                headers={**common, **(headers or {})},
            ) as client:
                yield client
        except (httpx.RequestError, httpx.InvalidURL) as error:
            why = str(error) or type(error).__name__
            raise Unavailable(f"The API at {self.url} cannot be reached: {why}. Is it running?") from error

    def _raise_for_stream_status(self, answer: httpx.Response) -> None:
        if not answer.is_success:
            answer.read()
        self._raise_for_status(answer)

    def _raise_for_status(self, answer: httpx.Response) -> None:
        if answer.is_success:
            return
        try:
            body: dict[str, Any] = answer.json()
            message: str = body["message"]
        except (ValueError, LookupError, TypeError):
            raise self._not_callboard(answer) from None
        raise _ERRORS_BY_STATUS.get(answer.status_code, CallboardError)(_join_errors(message, body.get("details")))

    def _not_callboard(self, answer: httpx.Response) -> Unavailable:
        return Unavailable(
            f"{self.url} answered {answer.status_code}, but not like a Callboard API. Check the address."
        )


def _join_errors(message: str, details: Any) -> str:
    """Return all errors of a request. The message has only the first one and the number of others."""
    try:
        errors = [f"{each['path']}: expected {each['expected']}." for each in details["errors"]]
    except (LookupError, TypeError):
        return message
    return " ".join(errors) if len(errors) > 1 else message


def _run_in_thread[T](work: Callable[[], T], *, discard: Callable[[T], None] | None = None) -> T:
    """Run `work`, which makes a request, in a thread and wait for it.

    Ctrl-C raises wherever the main thread is. Within httpx, that can be between taking a lock and releasing it; then
    closing the client would wait for that lock for ever. What comes of `work` when nobody waits any more is given to
    `discard`, perhaps twice.
    """
    ended: SimpleQueue[Future[T]] = SimpleQueue()
    abandoned = Event()

    def drop(came: Future[T]) -> None:
        if discard is not None and came.exception() is None:
            discard(came.result())

    def run() -> None:
        came: Future[T] = Future()
        try:
            came.set_result(work())
        except BaseException as error:  # noqa: BLE001  # The waiting thread raises it.
            came.set_exception(error)
        ended.put(came)
        if abandoned.is_set():
            drop(came)

    Thread(target=run, name="request", daemon=True).start()
    try:
        came = ended.get()
    except BaseException:  # The thread looks after it has put its end, so one of the two sees what the other did.
        abandoned.set()
        with suppress(Empty):
            drop(ended.get_nowait())
        raise
    return came.result()


def _split_lines(chunks: Iterable[bytes]) -> Generator[str]:
    """Split chunks into lines at line feeds only. httpx would also split at other line ends of Python, within JSON."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.decode("utf-8", "replace")
    if rest:
        yield rest.decode("utf-8", "replace")


def find_api(*, url: str | None, key: str | None, data: Path | None) -> ApiClient:
    """Return the API that the options name, else that of the environment, else that of the running `callboard dev`.

    Raises:
        ConfigurationError: There is no key, or it cannot be a key.
        Unavailable: None of them names an API.
    """
    settings = load_settings(url=url, data_dir=data, api_key=key)
    given = None if settings.api_key is None else _check_key(settings.api_key.get_secret_value())
    if data is not None and url is None:
        # The user means that stack, and not the API that the environment's address and key name.
        return _dev_api(settings.data_dir, None if key is None else given)
    if settings.url is None:
        return _dev_api(settings.data_dir, given)
    if given is None:
        raise ConfigurationError(f"No API key given for {settings.url}. Set CALLBOARD_API_KEY to one of its keys.")
    return ApiClient(settings.url.rstrip("/"), settings.workspace, given)


def _dev_api(data: Path, key: str | None) -> ApiClient:
    folder = data.expanduser()
    connection = read_connection(folder)
    if connection is None:
        raise Unavailable(
            f"No `callboard dev` is running on {folder}. Start it, pass its data folder with --data, or set "
            "CALLBOARD_URL and CALLBOARD_API_KEY to call another API."
        )
    return ApiClient(connection["url"], connection["workspaceId"], key or connection["apiKey"], on_this_host=True)


def _check_key(key: str) -> str:
    # The key is checked here, because errors of the HTTP libraries would quote it.
    if not key.isascii() or not key.isprintable() or key != key.strip():
        raise ConfigurationError(
            "The API key contains a space, a line end or another character that no key has. Set CALLBOARD_API_KEY to "
            "the key alone."
        )
    return key
