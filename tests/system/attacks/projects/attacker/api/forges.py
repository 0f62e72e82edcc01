"""Forges what only Callboard may say: packets of the log, on every descriptor, with every mark that can be found."""

import gc
import json
import os
import stat
import struct

HEAD = struct.Struct(">cIH")


def packet(mark, kind, said):
    body = json.dumps(said).encode()
    return mark + HEAD.pack(kind, 0, len(body)) + body


def marks():
    """All short bytes of this process that may be the mark, and those of objects that write packets."""
    for found in gc.get_objects():
        if type(found).__name__ == "Lines":
            for held in vars(found).values():
                if isinstance(held, bytes):
                    yield held
    for found in gc.get_objects():
        for held in found.values() if type(found) is dict else found if type(found) in (list, tuple) else ():
            if type(held) is bytes and len(held) == 16:
                yield held


async def automation(page, params):
    lines = [found for found in gc.get_objects() if type(found).__name__ == "Lines"]
    for writer in lines:
        for source in ("callboard", "console", "page", "network"):
            writer.say("error", source, f"FORGED by its own writer as {source}")
    known = list(dict.fromkeys(marks()))
    if hasattr(os, "pread"):
        known.append(b"\0callboard\0" + bytes(16))
    numbers = [int(number) for number in os.listdir("/proc/self/fd")]
    for mark in known:
        forged = b"".join(
            packet(mark, *each)
            for each in (
                (b"L", {"level": "error", "source": "callboard", "message": "FORGED line"}),
                (b"B", {"file": params["file"], "limit": 1 << 20}),
                (b"L", {"level": "error", "source": "user", "message": "FORGED in a file"}),
                (b"E", {}),
                (b"B", {"file": params["file"], "limit": 1 << 20}),
            )
        )
        for number in numbers:
            try:
                if stat.S_ISFIFO(os.fstat(number).st_mode):
                    os.write(number, b"\n" + forged + b"\n")
            except OSError:
                pass
    print("an honest line")
    return {"marks": len(known), "writers": len(lines)}
