"""Writes messages on the control socket to the supervisor without waiting for any answer, as fast as it takes them."""

import asyncio
import gc

MESSAGES = 12_000
VALUES = 8


def asked(number, operation, **arguments):
    return "request", {"number": 10_000_000 + number, "operation": operation, "arguments": arguments}


FLOODS = {
    "values read": lambda: (asked(number, "persistent_get", key="k") for number in range(MESSAGES)),
    "large values": lambda: (
        asked(number, "persistent_set", key="k", value="[" + "{}," * 15_000_000) for number in range(VALUES)
    ),
    "beginnings": lambda: (("called", {}) for _ in range(MESSAGES)),
    "unknown requests": lambda: (asked(number, "x", key="k") for number in range(MESSAGES)),
}


async def automation(page, params):
    channel = next(found for found in gc.get_objects() if type(found).__name__ == "Channel")
    for kind, fields in FLOODS[params["what"]]():
        channel.post(kind, **fields)
    while channel._writer.transport.get_write_buffer_size():
        await asyncio.sleep(0.05)
    return "flooded"
