"""Lists the descriptors that user code has been given, and uses them to reach what is behind them."""

import os
import stat


def describe(number):
    place = os.readlink(f"/proc/self/fd/{number}")
    mode = os.fstat(int(number)).st_mode
    kind = next((name for name, test in KINDS.items() if test(mode)), "other")
    return [place.partition(":")[0] if place.startswith(("socket", "pipe", "anon")) else place, kind]


KINDS = {
    "folder": stat.S_ISDIR,
    "file": stat.S_ISREG,
    "pipe": stat.S_ISFIFO,
    "socket": stat.S_ISSOCK,
    "device": stat.S_ISCHR,
}


async def automation(page, params):
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            found[number] = describe(number)
        except OSError:
            pass  # it was the one by which this folder is listed
    writable = []
    for number, (place, kind) in found.items():
        if kind == "pipe" and number not in ("0", "1", "2"):
            try:
                os.close(os.open(f"/proc/self/fd/{number}", os.O_RDONLY | os.O_NONBLOCK))
                writable.append(number)
            except OSError:
                pass
    return {"descriptors": found, "environment": dict(os.environ)}
