"""Playwright's client for user code in TypeScript, and how the Node.js that it runs in is started.

A process of user code lives for one Attempt, and speaks to a driver that is there (`runtime/node/relay_client.js`).
So it needs Playwright's client alone, which is a sixth of Playwright. There is no such package: it is cut out of the
bundle in the driver's package. This is done once for each worker, so that it always is of the driver's version. What V8
has compiled of it is kept beside it, where Machines can read it.

`tests/integration/machines/test_node_client.py` holds this module to the installed Playwright. Where its bundle has
another form, the client is all of Playwright, which does the same.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import playwright

from callboard.machines.attempt_spec import NodeEnvironment
from callboard.machines.box import USER_IN_BOX
from callboard.machines.runner.main import RUNTIME
from callboard.machines.trial import trial_refusal
from callboard.schemas.errors import MachineError

_RUNTIME = RUNTIME / "node"
CORE = Path(playwright.__file__).parent / "driver" / "package"
"""The whole of Playwright for Node.js."""
_MODULE = re.compile(r"^(?=// (?:packages|node_modules)/)", re.MULTILINE)
_SET_UP = re.compile(r"^var (init_\w+) = __esm\(", re.MULTILINE)
_SETS_UP = re.compile(r"\b(init_\w+)\(\)")
_WANTED = ("init_connection", "init_stackTrace")
_NEEDED = ("function setCoreDir(", "function setBoxedStackPrefixes(")
_EXPORTS = "\ninit_connection();\nsetCoreDir(__dirname);\nmodule.exports = { Connection, setBoxedStackPrefixes };\n"
_LIBRARIES = 'require("./utilsBundle")'
_CACHE = "NODE_COMPILE_CACHE"

_making = threading.Lock()


@dataclass(frozen=True)
class NodeClient:
    """A Node.js with Playwright's client."""

    environment: NodeEnvironment
    folder: Path
    """Folder of the client, which processes of user code read."""

    @classmethod
    def of(cls, environment: NodeEnvironment, folder: Path) -> Self:
        """Make the client in this folder of the worker, unless it is there. This blocks.

        Raises:
            MachineError: The Node.js does not run it.
        """
        with _making:
            _make(folder, environment.executable)
        return cls(environment, folder)

    def to_message(self, *, is_debuggable: bool) -> dict[str, Any]:
        """Return how a process of user code is started, for its zygote.

        `is_debuggable` says whether it may open its debugger: whoever reaches that commands the process.
        """
        return {
            "command": [str(self.environment.executable), str(_RUNTIME / "user_process.js")],
            "isDebuggable": is_debuggable,
            "environment": {_CACHE: str(self.folder / "cache")},
            "setup": {
                "client": str(_client(self.folder)),
                "core": str(CORE),
                "modules": self.environment.modules and str(self.environment.modules),
            },
        }


def _client(folder: Path) -> Path:
    return folder / "lib" / "client.js"


@lru_cache
def _make(folder: Path, executable: Path) -> None:
    """Make the client, and have this Node.js compile it. An error is not remembered: the next Machine tries again."""
    client = _client(folder)
    client.parent.mkdir(parents=True, exist_ok=True)
    client.write_text(cut_client((CORE / "lib" / "coreBundle.js").read_text()) or _whole())
    shutil.copyfile(CORE / "package.json", folder / "package.json")  # where the bundle reads its version
    libraries = (
        f"module.exports = require({_text(_RUNTIME / 'libraries.js')})({_text(CORE / 'lib' / 'utilsBundle.js')});\n"
    )
    client.with_name("libraries.js").write_text(libraries)
    reason = trial_refusal(
        [str(executable), str(_RUNTIME / "fill_cache.js"), str(client)],
        # Playwright asks for the home folder, and there may be none of this user.
        {"PATH": os.environ.get("PATH", ""), "HOME": str(folder), _CACHE: str(folder / "cache")},
    )
    if reason is not None:
        raise MachineError(
            f"{executable} cannot run user code in TypeScript: {reason}. CALLBOARD_NODE takes a Node.js from 22.15 on;"
            " without it, that of Playwright's driver is used."
        )
    for made in list((folder / "cache").glob("*-0") if os.geteuid() == 0 else ()):  # named by the user who reads it
        made.with_name(f"{made.name.removesuffix('-0')}-{USER_IN_BOX}").symlink_to(made.name)


def cut_client(bundle: str) -> str | None:
    """Return the part of Playwright's bundle that its client alone consists of; None if there is no such part.

    In the bundle, a module is a block that begins with its path as a comment, and has a function by which those that
    need it set it up.
    """
    helpers, *modules = re.split(_MODULE, bundle)
    set_up_by = {name: number for number, module in enumerate(modules) for name in re.findall(_SET_UP, module)}
    needed, wanted = set[int](), [*_WANTED]
    while wanted:
        number = set_up_by.get(wanted.pop())
        if number is None:
            return None
        if number not in needed:
            needed.add(number)
            wanted += re.findall(_SETS_UP, modules[number])
    client = "".join([helpers, *(modules[number] for number in sorted(needed)), _EXPORTS])
    return client.replace(_LIBRARIES, 'require("./libraries.js")') if all(map(client.__contains__, _NEEDED)) else None


def _whole() -> str:
    """Return a client that is all of Playwright."""
    return (
        f"const core = require({_text(CORE)});\n"
        "const { setBoxedStackPrefixes } = require("
        f"{_text(CORE / 'lib' / 'coreBundle.js')}).utils;\n"
        "module.exports = { Connection: core._connection.constructor, setBoxedStackPrefixes };\n"
    )


def _text(path: Path) -> str:
    return json.dumps(str(path))
