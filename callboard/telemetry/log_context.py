"""What the records of a log belong to: the Run, Attempt and project that this task works on.

It is a context variable, so tasks and threads that are started on behalf of an Attempt or a request have it, too. It is
set in two places: by `log_interceptor` for activities, and by the middleware of the api for requests.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

_NOTHING: Mapping[str, str | int] = {}
_fields: ContextVar[Mapping[str, str | int]] = ContextVar("log_fields", default=_NOTHING)


@contextmanager
def log_fields(**fields: str | int | None) -> Generator[None]:
    """Give these fields to every record that is logged in the block; those that are None are left out."""
    token = _fields.set({**_fields.get(), **_given(fields)})
    try:
        yield
    finally:
        _fields.reset(token)


def add_log_fields(**fields: str | int | None) -> None:
    """Give these fields to every later record of the block of `log_fields` that this task is in."""
    _fields.set({**_fields.get(), **_given(fields)})


def current_log_fields() -> Mapping[str, str | int]:
    """Return the fields of records that are logged here."""
    return _fields.get()


def _given(fields: Mapping[str, str | int | None]) -> dict[str, str | int]:
    return {name: value for name, value in fields.items() if value is not None}
