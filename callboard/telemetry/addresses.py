"""Addresses that a process listens on for operators: where they are, and that nobody else listens there."""

from __future__ import annotations

import os
import socket

from callboard.schemas.errors import ConfigurationError


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of a checked setting such as `127.0.0.1:9464` or `[::1]:9464`."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def listen(variable: str, address: str) -> socket.socket:
    """Return a socket that listens at the address of a setting.

    Raises:
        ConfigurationError: The host is not found or is none of this machine, or the port is taken or not allowed.
    """
    host, port = split_address(address)
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(place[:2], family=family)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
        raise ConfigurationError(
            f"Nothing can listen at {address} ({why}). Choose another host and port with {variable}, or unset it."
        ) from error
