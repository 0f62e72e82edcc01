"""Places and objects of the kernel in which something could stay, and how each is filled and looked at."""

import ctypes
import errno
import os
import socket
from pathlib import Path

from ways import call, libc, syscall

MARK = b"left by an Attempt"
KEY = 0x0CA11B0A
ADD_KEY, KEYCTL, MQ_OPEN = 248, 250, 240
KEYCTL_SEARCH, KEYCTL_JOIN = 10, 1
KEYRINGS = {"session": -3, "user": -4, "user session": -5, "process": -2}
FOLDERS = (
    "/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", "/run", "/run/lock", "/run/user", "/", "/home", "/root", "/etc", "/opt", "/mnt",
    "/srv", "/var", "/var/cache", "/var/lib", "/usr/local", "/dev", "/sys/fs/cgroup",
)  # fmt: skip


def name():
    """What daemons and sockets are called, so that those of another installation on this host are not taken for ours."""
    return "left-by-an-attempt-in" + os.getcwd().partition("/data/")[0].replace("/", "-")


def fill_shared_memory():
    number = libc.shmget(KEY, 4096, 0o1666)
    if number == -1:
        raise OSError(ctypes.get_errno(), "shmget")
    libc.shmat.restype = ctypes.c_void_p
    place = libc.shmat(number, None, 0)
    ctypes.memmove(place, MARK, len(MARK))


def fill_semaphore():
    call("semget", KEY, 1, 0o1666)


def fill_message_queue():
    number = call("msgget", KEY, 0o1666)
    message = ctypes.create_string_buffer(ctypes.sizeof(ctypes.c_long) + len(MARK))
    ctypes.c_long.from_buffer(message).value = 1
    ctypes.memmove(ctypes.addressof(message) + ctypes.sizeof(ctypes.c_long), MARK, len(MARK))
    call("msgsnd", number, message, len(MARK), 0)


def fill_posix_queue():
    os.close(syscall(MQ_OPEN, ctypes.c_char_p(b"callboard"), os.O_CREAT | os.O_RDWR, 0o666, None))


def fill_keyring(ring):
    syscall(ADD_KEY, ctypes.c_char_p(b"user"), ctypes.c_char_p(b"callboard"), ctypes.c_char_p(MARK), len(MARK), ring)


KERNEL = {
    "shared memory": (fill_shared_memory, lambda: libc.shmget(KEY, 0, 0)),
    "semaphore": (fill_semaphore, lambda: libc.semget(KEY, 0, 0)),
    "message queue": (fill_message_queue, lambda: libc.msgget(KEY, 0)),
    "POSIX queue": (fill_posix_queue, lambda: libc.syscall(MQ_OPEN, b"callboard", os.O_RDWR, 0, None)),
    **{
        f"{name} keyring": (
            lambda ring=ring: fill_keyring(ring),
            lambda ring=ring: libc.syscall(KEYCTL, KEYCTL_SEARCH, ring, b"user", b"callboard", 0),
        )
        for name, ring in KEYRINGS.items()
    },
}


def remove_from_kernel():
    """Remove what is left on the host, for the tests."""
    for get, remove in (("shmget", "shmctl"), ("semget", "semctl"), ("msgget", "msgctl")):
        number = getattr(libc, get)(KEY, 0, 0) if get != "msgget" else libc.msgget(KEY, 0)
        if number != -1:
            if remove == "semctl":
                libc.semctl(number, 0, 0)
            else:
                getattr(libc, remove)(number, 0, None)
    libc.mq_unlink(b"/callboard")


def folders():
    own = [os.environ["HOME"], os.environ["TMPDIR"], os.getcwd(), *map(str, Path.cwd().parents)]
    return [*FOLDERS, *own]


def is_socket_left():
    """Whether the name of an abstract socket is taken that an Attempt may have left."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.bind("\0" + name())
    except OSError as error:
        return error.errno == errno.EADDRINUSE
    return False
