"""The data folder of `callboard dev`, which has one owner at a time and holds these files and folders.

format          format in which the database and the store hold Runs
lock            locked while a stack runs on the folder; holds its process id
api-key         API key, created at the first start that succeeds if CALLBOARD_API_KEYS is not set
secret-key      secret key, created once if CALLBOARD_SECRET_KEY is not set
webhook-secret  secret with which receivers verify webhooks, created once if CALLBOARD_WEBHOOK_SECRETS is not set
dev.json        addresses and key of the running stack for clients; exists only while it runs
temporal.db     Temporal's database
artifacts/      the artifact store, if CALLBOARD_ARTIFACTS is not set
logs/           output of temporal, temporal-ui, api and worker
caddy/          private data of the reverse proxy of the Web UI
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from callboard.schemas.errors import StackError
from callboard.storage.file_lock import is_locked, try_lock

FORMAT = "1"
"""Number of the data format, increased when data that was written before cannot be read any more."""

_LOCK = "lock"
_CONNECTION = "dev.json"


@contextmanager
def lock_data_folder(data: Path) -> Generator[None]:
    """Create the data folder if it does not exist, and lock it. The kernel releases the lock when the process dies.

    Until this ends, whatever this process and its children create is readable for nobody else, wherever the folder is:
    the database and the logs hold parameters and results.

    Raises:
        StackError: Another stack runs on it, or it cannot be written.
    """
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        (data / _LOCK).touch(mode=0o600)
        lock = try_lock(data / _LOCK)
        if lock is None:
            owner = (data / _LOCK).read_text("ascii", "replace").strip()
            raise StackError(
                f"The data folder {data} is in use by another `callboard dev` (process {owner or 'unknown'})."
                " Stop that one, or choose another folder with --data."
            )
        for path in (*data.glob("temporal.db*"), *data.glob("artifacts"), *data.glob("logs")):
            path.chmod(path.stat().st_mode & 0o700)  # a backup that was restored may let others read it
    except OSError as error:
        raise StackError(f"The data folder {data} cannot be used: {error}. Choose another with --data.") from error
    before = os.umask(0o077)
    try:
        with lock:
            (data / _LOCK).write_text(f"{os.getpid()}\n", "ascii")
            yield
    finally:
        os.umask(before)


def ensure_format(data: Path) -> None:
    """Write the data format into a new folder, and refuse a folder whose data has another format.

    Raises:
        StackError: The folder was written by another version of Callboard, whose Runs this one cannot read.
    """
    note = data / "format"
    written = read_secret(note)
    if written is None and not (data / "temporal.db").exists():
        write_private_file(note, FORMAT + "\n")
    elif written != FORMAT:
        raise StackError(
            f"The data folder {data} was written by another version of Callboard, whose Runs this one cannot read"
            f" (its format is {written or 'unknown'}, not {FORMAT}). Move the folder away, or choose another one with"
            " --data."
        )


def read_secret(file: Path) -> str | None:
    """Return the secret that `file` holds, or None if it is empty or does not exist."""
    try:
        return file.read_text(encoding="ascii").strip() or None
    except FileNotFoundError:
        return None


def new_secret(prefix: str) -> str:
    """Return a secret of 32 random bytes as text, with `prefix` before it."""
    return prefix + secrets.token_urlsafe(32)


def new_webhook_secret() -> str:
    """Return a secret of 32 random bytes in the form of Standard Webhooks."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode("ascii")


def write_private_file(path: Path, text: str) -> None:
    """Write a file that only its owner can read; it appears whole or not at all."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    temporary.replace(path)


def read_connection(data: Path) -> dict[str, Any] | None:
    """Return the addresses and the key of the stack that runs on the data folder; None if none runs.

    A stack that was killed leaves its connection file behind, but not its lock.
    """
    try:
        content: dict[str, Any] = json.loads((data / _CONNECTION).read_bytes())
    except (OSError, ValueError):
        return None
    return content if is_locked(data / _LOCK) else None


@contextmanager
def connection_file(data: Path, content: dict[str, str | int]) -> Generator[None]:
    """Keep `dev.json` in the data folder for clients on this host while the stack runs."""
    path = data / _CONNECTION
    write_private_file(path, json.dumps(content, indent=2) + "\n")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
