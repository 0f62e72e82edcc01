"""Ports on loopback: choosing free ones, and saying before anything starts that one is taken."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import ExitStack

from contract.errors import StackError


def claim(wanted: Mapping[str, int]) -> dict[str, int]:
    """Check that the wanted ports can be had, and choose free ones for those that are 0.

    Args:
        wanted: For each option that sets a port (`--port`), its number or 0.

    Raises:
        StackError: a port is in use; the message names it and its option.
    """
    ports: dict[str, int] = {}
    with ExitStack() as held:  # all are held until the last one is chosen, so that no two are the same
        for option, port in wanted.items():
            listener = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            # As servers do it: a port whose last connections are only just closing is free.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
                listener.listen()
            except OSError as error:
                raise StackError(
                    f"Port {port} is in use or not allowed ({error.strerror})."
                    f" Stop what listens there, or choose another port with {option} (0 takes a free one)."
                ) from error
            ports[option] = listener.getsockname()[1]
    return ports
