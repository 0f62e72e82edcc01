"""Choosing free ports on loopback, and reporting a port that is in use before anything starts."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Mapping
from contextlib import ExitStack

import httpx

from callboard.schemas.errors import StackError

_RANGE = range(20_000, 32_000)
"""Range in which free ports are looked for. It is below those that Linux gives to outgoing connections (32,768 and up),
as one of those could be taken again between the moment it is chosen and the moment its server listens."""

_ASKED_WITHIN = 1.0
"""Seconds in which whoever listens at a port may say who it is."""
_START_OF_PAGE = 4096
"""Bytes of a page that are read."""


def choose_ports(wanted: Mapping[str, int]) -> dict[str, int]:
    """Check that the wanted ports are free, and choose free ones for those that are 0.

    Args:
        wanted: The number, or 0, for each option that sets a port (`--port`).

    Raises:
        StackError: A port is in use; the message names it and its option.
    """
    ports: dict[str, int] = {}
    with ExitStack() as held:  # All are held until the last one is chosen, so that no two are the same.
        for option, port in wanted.items():
            try:
                listener = _listen(port) if port else _listen_on_free_port()
            except OSError as error:
                raise StackError(
                    f"Port {port} is in use or not allowed ({os.strerror(error.errno or 0)}).{_who_listens(port)}"
                    f" Stop what listens there, or choose another port with {option} (0 picks a free one)."
                ) from error
            ports[option] = held.enter_context(listener).getsockname()[1]
    return ports


def _who_listens(port: int) -> str:
    """Return a sentence about a part of another Callboard that listens at a port; nothing if it is something else."""
    try:
        with httpx.stream(
            "GET", f"http://127.0.0.1:{port}/index.html", timeout=_ASKED_WITHIN, trust_env=False
        ) as answer:
            start = next(answer.iter_bytes(_START_OF_PAGE), b"")
            if b"Trace Viewer" in start:
                return " The trace viewer of another Callboard listens there."
            return " Another Callboard listens there." if "x-correlation-id" in answer.headers else ""
    except httpx.HTTPError:
        return ""


def _listen_on_free_port() -> socket.socket:
    for port in random.sample(_RANGE, 1000):
        try:
            return _listen(port)
        except OSError:  # Another process uses it.
            continue
    raise StackError(f"No free port among {_RANGE.start} to {_RANGE.stop}. Choose ports with the options.")


def _listen(port: int) -> socket.socket:
    # create_server sets SO_REUSEADDR, as servers do: a port whose last connections are just closing counts as free.
    return socket.create_server(("127.0.0.1", port))
