"""The body of a Job as a command is given it: JSON, or NDJSON that is sent as it is read, however long it is."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

from cli.json_argument import read_object
from cli.with_api import ProjectApi
from schemas.errors import BadRequest

NDJSON = "application/x-ndjson"
_NDJSON_SUFFIXES = (".ndjson", ".jsonl")
_PIECE = 256 * 1024
"""Bytes of a file that are in memory at a time."""


def send_job(target: ProjectApi, method: str, path: str, body: str, payload: str | None) -> Any:
    """Send a Job, and return the answer.

    Args:
        target: The project.
        method: The HTTP method.
        path: The path below the project.
        body: The Job: JSON, `@FILE`, the name of a file, or `-` for stdin. A file of NDJSON is sent as it is.
        payload: A file with the items of the payload as NDJSON, or `-` for stdin; None if they are in `body`.

    Raises:
        BadRequest: A file cannot be read, the body is not a JSON object, or there are two payloads.
        CallboardError: The API refuses the Job.
    """
    file = Path(body.removeprefix("@"))
    if payload is None and file.suffix in _NDJSON_SUFFIXES:
        return target.upload(method, path, _read_pieces(file, "BODY"), NDJSON)
    job = read_object(body, "BODY")
    if payload is None:
        return target.request(method, path, job)
    if "payload" in job:
        raise BadRequest("--payload: expected a BODY without a payload, as the items are those of the file.")
    if payload == body == "-":
        raise BadRequest("--payload: expected a file, as BODY comes on stdin.")
    items = _stdin_pieces() if payload == "-" else _read_pieces(Path(payload), "--payload")
    return target.upload(method, path, _with_first_line(job, items), NDJSON)


def _with_first_line(job: dict[str, Any], items: Generator[bytes]) -> Generator[bytes]:
    yield json.dumps(job).encode() + b"\n"
    yield from items


def _read_pieces(path: Path, option: str) -> Generator[bytes]:
    """Return the content of a file in pieces. It is opened at once, so that nothing is sent if that fails."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise BadRequest(f"{option}: {path} cannot be read: {error.strerror}.") from error

    def read() -> Generator[bytes]:
        with file:
            while piece := file.read(_PIECE):
                yield piece

    return read()


def _stdin_pieces() -> Generator[bytes]:
    while piece := sys.stdin.buffer.read(_PIECE):
        yield piece
