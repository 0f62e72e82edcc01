"""Writes forged messages on the control socket to the supervisor, as JSON frames, and what is no message at all."""

import gc
import json
import os
import socket
import stat
import struct

MESSAGES = {
    "ready": {"type": "ready"},
    "idle": {"type": "idle", "retireReason": None},
    "begun": {"type": "begun", "root": "/"},
    "done without fields": {"type": "done"},
    "done with wrong types": {"type": "done", "result": 5, "imported": {"a": 1}, "attributes": [], "lasting": "no"},
    "done with another session": {
        "type": "done", "result": '"forged"', "extendedPayloads": None, "imported": [], "attributes": {},
        "lasting": False, "state": {"cookies": [{"name": "x"}], "origins": 7}, "session": "forged",
    },
    "imports": {
        "type": "done", "result": '"forged"', "extendedPayloads": None, "attributes": {}, "lasting": False,
        "imported": ["antigravity", "os; import x", "../../x", "_callboard_runner.supervisor", "x" * 100_000],
    },
    "left elsewhere": {
        "type": "stopped",
        "evidence": {"pageUrl": "file:///etc/passwd", "missing": {"trace": "/etc/passwd"}, "trace": "/etc"},
    },
    "open": {"type": "open", "number": -1, "trace": "../../x", "unused": None},
    "open many": [{"type": "open", "number": n, "trace": True, "unused": True} for n in range(2000)],
    "requests": [{"type": "request", "number": n, "kind": "x" * 1000} for n in range(2000)],
    "configure": {"type": "configure", "browser": "/bin/sh"},
    "attempt": {"type": "attempt"},
    "stop": {"type": "stop"},
    "deep": "[" * 100_000,
    "huge length": None,
    "text": "no message",
}  # fmt: skip


def frame(message):
    body = message.encode() if isinstance(message, str) else json.dumps(message).encode()
    return struct.pack(">I", len(body)) + body


async def automation(page, params):
    message = MESSAGES[params["message"]]
    forged = struct.pack(">I", 0xFFFFFFFF) if message is None else b"".join(
        map(frame, message if isinstance(message, list) else [message])
    )  # fmt: skip
    for number in os.listdir("/proc/self/fd"):
        try:
            if stat.S_ISSOCK(os.fstat(int(number)).st_mode):
                with socket.socket(fileno=os.dup(int(number))) as end:
                    end.setblocking(False)
                    end.send(forged)
        except OSError:
            pass
    return "lied"
