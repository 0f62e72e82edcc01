"""The boxes of a Machine: one for driver and browser, one for the zygote and the user code that it is forked for.

A box says what a process sees of this host's files, and how it is started there. `callboard.machines.runner.folders`
says which folders of the Machine there are.

Bubblewrap makes the box if this user may make namespaces: user, mount, PID and IPC namespaces of its own. Only the
files that the box needs are there, at their paths outside. Landlock comes on top of that if the kernel has it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import playwright

from callboard.machines.attempt_spec import NodeEnvironment, PythonEnvironment, Version
from callboard.machines.browser_program import browsers_folder
from callboard.machines.environment import X11_SOCKETS, certificates, machine_environment
from callboard.machines.runner import confinement, inner_box
from callboard.machines.runner.folders import ATTEMPT, DOWNLOADS, OF_DRIVER, TEMPORARY, TEMPORARY_IN_BOX, WORK
from callboard.machines.runner.inner_box import InnerBox
from callboard.machines.runner.main import RUNTIME
from callboard.machines.trial import trial_refusal

USER_IN_BOX = 1000
"""User and group in a box of root, as Chromium's own sandbox refuses root. Outside, they are root's."""
_OF_ROOT = ("sys", "sysrq-trigger", "irq", "bus", "fs", "acpi", "scsi", "mtrr")
"""Parts of /proc that govern the host. Root can write them, also in a box, as the files there are root's."""
_RESOLV_CONF = "/etc/resolv.conf"
_TEMPORARY = 512 * 1024 * 1024
"""Most bytes of the box's own temporary folders. They lie in memory."""
_IN_MEMORY = 4
"""Part of the Machine's memory that files in temporary folders of user code may take in addition."""

_SYSTEM = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/usr", "/var/cache/fontconfig")
_ETC = (
    *("alternatives", "ca-certificates", "ca-certificates.conf", "crypto-policies", "ssl/certs", "ssl/openssl.cnf"),
    *("pki/ca-trust", "pki/tls/certs", "pki/tls/cert.pem", "pki/tls/openssl.cnf"),
    *("chromium", "chromium.d", "opt/chrome", "fonts", "gtk-3.0", "xdg/gtk-3.0"),
    *("hosts", "host.conf", "hostname", "resolv.conf", "nsswitch.conf", "gai.conf", "protocols", "services"),
    *("passwd", "group", "localtime", "timezone", "locale.alias", "mime.types", "magic", "os-release"),
    *("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "debian_version", "terminfo", "python3"),
)
"""What programs look up below `/etc`. Nothing there is secret: root's box can read whatever is in it."""


@dataclass(frozen=True)
class Box:
    """What is in a box, besides the system's programs and libraries. Each path is in it as it is outside."""

    read: tuple[Path, ...]
    """Folders and files that can be read."""
    write: tuple[Path, ...]
    """Folders that can be written, too. All of these must exist."""
    instead: Mapping[Path, Path] = MappingProxyType({})
    """Files that are there in place of others of this host, by the paths of those."""
    resolv_conf: Path | None = None
    """The file that is `/etc/resolv.conf` there. None: the host's."""
    temporary: Path | None = None
    """The folder that is `TEMPORARY_IN_BOX` there. None: one in memory."""
    network: bool = True
    """Whether it has the network of whoever makes it. If not, it has none at all."""

    def command(self, *, final: bool, user_code: bool = False) -> list[str]:
        """Return the beginning of a command that starts a process in the box; what to start follows it.

        Args:
            final: Whether the process stands within Landlock and the filter of system calls, too. One that makes
                further boxes cannot, as Landlock forbids to mount anything; it sets up the filter itself.
            user_code: Whether that filter forbids what user code may not do in addition.
        """
        whose = "user-code" if user_code else "ours"
        return [*self.bubblewrap(), *(_confined(whose, self.walls()) if final else ())]

    def walls(self) -> confinement.Walls:
        """Return what Landlock leaves open: all that is in the box, to read."""
        return {"read": ["/"], "write": ["/dev", "/proc", *inner_box.TEMPORARY, *map(str, self.write)]}

    def bubblewrap(self) -> list[str]:
        """Return the beginning of a command that makes the box of namespaces."""
        user = USER_IN_BOX if os.geteuid() == 0 else None
        arguments = [
            *("--unshare-user", "--unshare-pid", "--unshare-ipc", "--die-with-parent"),
            *("--uid", str(os.geteuid() if user is None else user)),
            *("--gid", str(os.getegid() if user is None else user)),
        ]
        arguments += [] if self.network else ["--unshare-net"]
        arguments += ["--proc", "/proc", "--dev", "/dev"]
        for name in _OF_ROOT if user is not None else ():
            arguments += ["--ro-bind-try", f"/proc/{name}", f"/proc/{name}"]
        for folder in inner_box.TEMPORARY:
            if folder == TEMPORARY_IN_BOX and self.temporary is not None:
                arguments += ["--bind", str(self.temporary), folder]
            else:
                arguments += ["--size", str(_TEMPORARY), "--tmpfs", folder]
        for path in (*_SYSTEM, *(f"/etc/{name}" for name in _ETC)):
            if self.resolv_conf is None or path != _RESOLV_CONF:
                arguments += _placed(path)
        if self.resolv_conf is not None:
            arguments += ["--ro-bind", str(self.resolv_conf), _RESOLV_CONF]
        for path in _parents_first(self.read):
            arguments += ["--ro-bind", str(path), str(path)]
        for path in _parents_first(self.write):
            arguments += ["--bind", str(path), str(path)]
        for path, file in self.instead.items():
            arguments += ["--ro-bind", str(file), str(path)]
        # Otherwise, files could be left in the folders that lead to all these.
        arguments += ["--remount-ro", "/dev", "--remount-ro", "/"]
        return [str(_program()), *arguments, "--"]


@dataclass(frozen=True)
class Boxes:
    """What stands around the processes of one Machine."""

    driver: Box
    user: Box
    inner: InnerBox
    """What each process of user code has in addition."""

    @classmethod
    def of(
        cls,
        version: Version,
        scratch: Path,
        browser: Path,
        display: dict[str, str],
        client: Path | None,
        *,
        shared: tuple[Path, ...],
        resolv_conf: Path | None,
    ) -> Boxes:
        """Return the boxes of a Machine. This blocks.

        Args:
            version: What the Machine serves.
            scratch: Its scratch folder.
            browser: The browser's executable.
            display: The variables that lead the browser to a display, if it is to open windows.
            client: The folder of Playwright's client for Node.js; None if user code is in Python.
            shared: Folders of the host that every project may use.
            resolv_conf: The file that is `/etc/resolv.conf` in the boxes. None: the host's.
        """
        common = (*our_folders(), *certificates())
        driver = Box(
            read=(*common, driver_program().parent, *browser_folders(browser, display)),
            write=(*(scratch / name for name in OF_DRIVER), *shared),
            resolv_conf=resolv_conf,
            temporary=scratch / TEMPORARY,
        )
        environment = (*_python_environment(version.python), *_node_environment(version.node, client))
        user = Box(
            read=(*common, *environment, *browser_folders(browser, {}), scratch / DOWNLOADS),
            write=(scratch / WORK, *shared),
            resolv_conf=resolv_conf,
        )
        kept = [str(path) for path in (*user.read, *shared, scratch / ATTEMPT)]
        inner = InnerBox(
            kept, [str(scratch / WORK)], version.memory_limit // _IN_MEMORY, processes=has_inner_processes()
        )
        return cls(driver, user, inner)


def driver_command(boxes: Boxes | None) -> list[str]:
    """Return the command that starts Playwright's driver, in its box if any, without the driver's own arguments."""
    return [*(boxes.driver.command(final=True) if boxes else ()), str(driver_program())]


def zygote_setup(
    boxes: Boxes | None, command: list[str], environment: dict[str, str], node: dict[str, Any] | None
) -> dict[str, Any]:
    """Return what the supervisor needs to know to start the zygote, in its box if there are boxes.

    `node` is what `callboard.machines.node_client` says of a Node.js; None if user code is in Python.
    """
    return {
        "node": node,
        "command": [*(boxes.user.command(final=False) if boxes else ()), *command],
        "environment": environment,
        "innerBox": boxes and asdict(boxes.inner),
        "walls": boxes and boxes.user.walls(),
    }


def _python_environment(environment: PythonEnvironment | None) -> tuple[Path, ...]:
    return () if environment is None else python_folders(environment.executable)


def _node_environment(environment: NodeEnvironment | None, client: Path | None) -> tuple[Path, ...]:
    if environment is None:
        return ()
    return (*node_files(environment.executable), *(path for path in (environment.modules, client) if path is not None))


def node_files(node: Path) -> tuple[Path, ...]:
    """Return what a box needs to start this Node.js: one file, and what it links to. Nothing beside it is there."""
    return tuple({path for path in (node, node.resolve()) if not path.is_relative_to("/usr")})


def python_folders(*executables: Path) -> tuple[Path, ...]:
    """Return the folders that these interpreters, and the environments that they belong to, need."""
    found: dict[Path, None] = {}
    for executable in executables:
        link = executable
        while True:
            found[link.parents[1]] = None
            if not link.is_symlink():
                break
            link = Path(os.path.normpath(link.parent / link.readlink()))
        found[executable.resolve().parents[1]] = None
    return tuple(folder for folder in found if folder != Path("/usr"))


def our_folders() -> tuple[Path, ...]:
    """Return the folders that each process of a Machine needs: our interpreter and packages, runner and runtime."""
    places = (Path(sys.base_prefix), Path(sysconfig.get_path("platlib")), Path(confinement.__file__).parent, RUNTIME)
    return (*python_folders(Path(sys.executable)), *(place for place in places if not place.is_relative_to("/usr")))


def browser_folders(browser: Path, display: dict[str, str]) -> tuple[Path, ...]:
    """Return the folders and files that a browser needs, given the variables that lead it to a display, if any."""
    outside = [path for path in (browser, browser.resolve()) if not path.is_relative_to("/usr")]
    # A script may lie anywhere, and starts a browser of the system's, or of Playwright's.
    found = [browsers_folder(), *(path if _is_script(path) else path.parent for path in outside)]
    found += [Path(display[name]) for name in ("XAUTHORITY",) if name in display]
    if "DISPLAY" in display:
        found.append(X11_SOCKETS)
    if "WAYLAND_DISPLAY" in display and "XDG_RUNTIME_DIR" in display:
        found.append(Path(display["XDG_RUNTIME_DIR"]) / display["WAYLAND_DISPLAY"])
    return tuple(path for path in found if path.exists())


def _is_script(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return False


def driver_program() -> Path:
    """Return the Node.js that Playwright's driver runs on, found as Playwright itself finds it."""
    configured = os.environ.get("PLAYWRIGHT_NODEJS_PATH")
    return Path(configured) if configured else Path(playwright.__file__).parent / "driver" / "node"


def node_program() -> Path:
    """Return the Node.js that user code in TypeScript runs on: `CALLBOARD_NODE`, else that of Playwright's driver."""
    configured = os.environ.get("CALLBOARD_NODE")
    return Path(configured) if configured else driver_program()


@lru_cache
def box_refusal() -> str | None:
    """Say why boxes of namespaces cannot be made here; None if they can. This is tried once per process.

    The reason is the end of a sentence without its period. This call blocks.
    """
    program = _program()
    if program is None:
        return "bubblewrap is not installed (`callboard setup` installs it)"
    here = Path(inner_box.__file__)
    box = Box((here.parent, *our_folders()), ())
    how = ["processes"] if has_inner_processes() else []
    command = [*box.bubblewrap(), sys.executable, "-I", "-S", str(here), *how]
    reason = trial_refusal(command, machine_environment(Path("/nonexistent")))
    return reason and f"user {os.geteuid()} may not make the namespaces that it needs: {reason}"


def has_inner_processes() -> bool:
    """Tell whether inner boxes have PID namespaces of their own.

    Root's have none: its /proc is covered in part, and the kernel then allows no new one in it. If it did, any code in
    the box could make one without covers.
    """
    return os.geteuid() != 0


def _confined(whose: str, walls: confinement.Walls) -> list[str]:
    """Return the beginning of a command that starts a process within Landlock and the filter of system calls."""
    return [sys.executable, "-I", "-S", confinement.__file__, whose, json.dumps(walls)]


def _program() -> Path | None:
    found = shutil.which("bwrap")
    return Path(found) if found else None


def _placed(path: str) -> list[str]:
    """Return the arguments that put a part of the system into the box, if it exists; a link stays a link."""
    place = Path(path)
    if place.is_symlink() and Path(os.path.normpath(place.parent / place.readlink())).is_relative_to("/usr"):
        return ["--symlink", str(place.readlink()), path]
    return ["--ro-bind", path, path] if place.exists() else []


def _parents_first(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield each path once, a folder before what lies in it: it would hide what was there before."""
    yield from sorted(set(paths), key=lambda path: len(path.parts))
