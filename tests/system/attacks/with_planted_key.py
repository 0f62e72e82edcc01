"""Runs a command in a session keyring with a key, as services and logins of a host have one: `python … COMMAND…`."""

from __future__ import annotations

import ctypes
import os
import sys

KEYCTL, ADD_KEY = (250, 248) if os.uname().machine == "x86_64" else (219, 217)
JOIN_SESSION_KEYRING, SESSION = 1, -3
NAME, SECRET = b"callboard-of-the-host", b"a key of the host"


def main() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    # Where a container forbids keys, it forbids them to Machines as well.
    if libc.syscall(ctypes.c_long(KEYCTL), JOIN_SESSION_KEYRING, None) != -1:
        libc.syscall(ctypes.c_long(ADD_KEY), b"user", NAME, SECRET, ctypes.c_size_t(len(SECRET)), SESSION)
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
