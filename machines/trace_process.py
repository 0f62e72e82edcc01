"""A process that masks traces, one after another, so that no trace can use up a worker's memory or its time.

What user code has left may unpack to a thousand times its size, and its JSON to twenty times that. The kernel bounds
this process: it may use no more memory than `_MEMORY`, and no more time for one trace than the request allows. It runs
on the standard library alone, as a script of its own; `trace_redactor` is the worker's side.

    stdin   one JSON object a line, a request: {"folder", "target", "secrets", "limit", "root", "cookies", "seconds"}.
            At its end, the process ends.
    stdout  one JSON object a line, the answer: {"found": bool} (whether there were traces in the folder), or the error:
            {"trace": sentence}, {"disk": [errno, text]}.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # A script can import our packages from this folder, after the standard library, and nothing else of ours.
    sys.path.append(str(Path(__file__).parents[1]))

from machines.scheduling import give_way
from machines.trace_redaction import RedactionOptions, TraceError, parts_in, redact
from security.inspection import forbid_inspection
from security.masking import Masker

_MEMORY = 512 * 1024 * 1024
"""Most bytes of address space.

An ordinary trace is masked in 30 MiB. With 64 MiB that are kept, one event may take 440 MiB.
"""


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Mask one trace, and return the answer to the request; see the module's docstring for the fields of both."""
    options = RedactionOptions(
        Masker(request["secrets"]), request["limit"], request["root"], cookies=request["cookies"]
    )
    try:
        parts = parts_in(Path(request["folder"]))
        if parts:
            redact(parts, Path(request["target"]), options)
    except TraceError as error:
        return {"trace": str(error)}
    except OSError as error:
        return {"disk": [error.errno, error.strerror]}
    return {"found": bool(parts)}


def main() -> None:
    """Serve requests from stdin until it ends; see the module's docstring."""
    give_way()
    forbid_inspection()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    while line := sys.stdin.buffer.readline():
        request = json.loads(line)
        # The worker kills a process that takes too long. If the worker was killed meanwhile, the process ends itself.
        signal.setitimer(signal.ITIMER_REAL, request["seconds"])
        answered = answer(request)
        signal.setitimer(signal.ITIMER_REAL, 0)
        os.write(1, json.dumps(answered).encode() + b"\n")


if __name__ == "__main__":
    main()
