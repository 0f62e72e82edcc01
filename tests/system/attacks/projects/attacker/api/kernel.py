"""Uses what the kernel keeps outside of all namespaces, and what gives user code more of the kernel to attack."""

import ctypes
import os
import socket
import struct
from pathlib import Path

from ways import Through, in_child, libc, syscall

CLONE, CLONE3, UNSHARE, IO_URING_SETUP, USERFAULTFD, ADD_KEY, KEYCTL = 56, 435, 272, 425, 323, 248, 250
NEWUSER, SIGCHLD = 0x10000000, 17
KEYCTL_DESCRIBE, KEYCTL_SEARCH, KEYCTL_READ, SESSION, PROCESS = 6, 10, 11, -3, -2
FAMILIES = {"VSOCK": 40, "ALG": 38, "PACKET": 17, "KEY": 15, "CAN": 29, "TIPC": 30, "BLUETOOTH": 31, "XDP": 44}


def host_key():
    key = syscall(KEYCTL, KEYCTL_SEARCH, SESSION, b"user", b"callboard-of-the-host", 0)
    text = ctypes.create_string_buffer(64)
    syscall(KEYCTL, KEYCTL_READ, key, text, 64)
    return text.value.decode()


def keyring():
    """Look at the session keyring itself, whatever is in it."""
    text = ctypes.create_string_buffer(256)
    syscall(KEYCTL, KEYCTL_DESCRIBE, SESSION, text, 256)
    return text.value.decode()


def named_keys():
    return Path("/proc/keys").read_text() or None


def add_key():
    return syscall(ADD_KEY, b"user", b"x", b"x", 1, PROCESS)


def ring():
    return syscall(IO_URING_SETUP, 1, ctypes.create_string_buffer(120))


def any_socket(family):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET, socket.SOCK_RAW):
        try:
            with socket.socket(family, kind):
                return kind.name
        except OSError:
            pass
    return None


def unshared():
    return syscall(UNSHARE, NEWUSER)


def cloned():
    """Clone by the system call itself; the child tells of it by its status."""
    return ended(syscall(CLONE, NEWUSER | SIGCHLD, 0, 0, 0, 0))


def cloned3():
    return ended(syscall(CLONE3, struct.pack("8Q", NEWUSER, 0, 0, 0, SIGCHLD, 0, 0, 0), 64))


def ended(pid):
    if pid == 0:
        libc._exit(7)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


async def automation(page, params):
    through = Through()
    through.attempt("key of the host", host_key)
    through.attempt("keyring", keyring)
    through.attempt("names of keys", named_keys)
    through.attempt("added key", add_key)
    through.attempt("io_uring", ring)
    through.attempt("userfaultfd", lambda: syscall(USERFAULTFD, 1))
    for name, family in FAMILIES.items():
        through.attempt(f"socket of family {name}", any_socket, family)
    for name, way in {"unshare": unshared, "clone": cloned, "clone3": cloned3}.items():
        through.attempt(f"user namespace by {name}", in_child, way)
    return through
