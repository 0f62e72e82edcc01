"""Tries to read, list, change and make files that are not its own, by every way there is to name them."""

import os
from pathlib import Path

from ways import Through, in_child


def spellings(path):
    """The same place by other names."""
    yield path
    yield f"/proc/self/root{path}"
    yield f"/proc/1/root{path}"
    yield f"/proc/thread-self/root{path}"
    yield os.path.relpath(path)
    for descriptor in os.listdir("/proc/self/fd"):
        yield f"/proc/self/fd/{descriptor}{'/..' * 20}{path}"
    link = Path(f"link-{abs(hash(path))}")
    if not link.is_symlink():
        link.symlink_to(path)
    yield str(link)


def read(path):
    if os.path.isdir(path):
        return os.listdir(path) or None
    with open(path, "rb") as file:
        return f"{path}: {file.read(40)!r}"


def make(path):
    name = f"{path}/made-by-user-code"
    with open(name, "x"):
        return name


def append(path):
    os.close(os.open(path, os.O_WRONLY | os.O_APPEND))
    return path


def take(path):
    """Link a file into the workspace, and open the link to write."""
    name = f"taken-{abs(hash(path))}"
    os.link(path, name)
    return append(name)


def change(path):
    os.utime(path)
    return path


def in_a_namespace_of_its_own(way, path):
    """Be root in a new user namespace, with mounts of its own, and try again from there."""

    def inside():
        os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNS)
        return way(path)

    return in_child(inside)


async def automation(page, params):
    through = Through()
    for path in params["read"]:
        for name in spellings(path):
            through.attempt(f"read {path} as {name}", read, name)
        through.attempt(f"read {path} in a namespace of its own", in_a_namespace_of_its_own, read, path)
    for path in params["write"]:
        for name in (path, f"/proc/self/root{path}", f"/proc/1/root{path}"):
            if os.path.isdir(name):
                through.attempt(f"make in {path} as {name}", make, name)
                continue
            for way in (append, take, change):
                through.attempt(f"{way.__name__} {path} as {name}", way, name)
        way = make if os.path.isdir(path) else append
        through.attempt(f"{way.__name__} in {path} in a namespace of its own", in_a_namespace_of_its_own, way, path)
    return through
