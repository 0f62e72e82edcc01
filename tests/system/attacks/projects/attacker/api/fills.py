"""Takes as much as it can of something that all share, up to `most`, and returns how much it has got."""

import asyncio
import os
import time

CHUNK = 32 * 1024 * 1024


def fill(descriptor, most):
    """Write to a file until it is refused."""
    taken, data = 0, os.urandom(1024) * (CHUNK // 1024)
    try:
        while taken < most:
            taken += os.write(descriptor, data)
    except OSError as error:
        return taken, error.strerror
    return taken, None


def memory_file(most):
    return fill(os.memfd_create("x"), most)


def file_in(folder):
    def way(most):
        return fill(os.open(f"{folder}/fill", os.O_CREAT | os.O_WRONLY), most)

    return way


def many_files(most):
    """Write files that are small each, in the Attempt's folder."""
    taken, number = 0, 0
    while taken < most:
        got, reason = file_of(number, CHUNK)
        taken, number = taken + got, number + 1
        if reason is not None:
            return taken, reason
    return taken, None


def empty_files_in_memory(most):
    taken = 0
    try:
        while taken < most:
            os.close(os.open(f"/tmp/empty-{taken}", os.O_CREAT))
            taken += 1
    except OSError as error:
        return taken, error.strerror
    return taken, None


def file_of(number, size):
    descriptor = os.open(f"fill-{number}", os.O_CREAT | os.O_WRONLY)
    try:
        return fill(descriptor, size)
    finally:
        os.close(descriptor)


def private_memory(most):
    held = []
    while len(held) * CHUNK < most:
        held.append(os.urandom(1024) * (CHUNK // 1024))
        time.sleep(0.001)
    return len(held) * CHUNK, None


def memory_of_children(most):
    """Take memory in many processes, each of which has little."""
    for _ in range(most // CHUNK):
        if os.fork() == 0:
            held = os.urandom(1024) * (CHUNK // 1024)
            time.sleep(600 + len(held) * 0)
            os._exit(0)
        time.sleep(0.01)
    time.sleep(3)  # the memory has been seen by then, as it is measured twice a second: nothing here can tell when
    return most, None


def processes(most):
    made = 0
    try:
        while made < most:
            if os.fork() == 0:
                time.sleep(600)
                os._exit(0)
            made += 1
    except OSError as error:
        return made, error.strerror
    return made, None


def threads(most):
    import threading

    made = 0
    try:
        while made < most:
            threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
            made += 1
    except RuntimeError as error:
        return made, str(error)
    return made, None


WAYS = {
    "memory file": memory_file,
    "/tmp": file_in("/tmp"),
    "/dev/shm": file_in("/dev/shm"),
    "private memory": private_memory,
    "memory of children": memory_of_children,
    "processes": processes,
    "threads": threads,
    "one file": lambda most: file_in(os.getcwd())(most),
    "many files": many_files,
    "empty files in /tmp": empty_files_in_memory,
}


async def automation(page, params):
    print("filling", params["what"], flush=True)
    taken, reason = await asyncio.to_thread(WAYS[params["what"]], params["most"])
    await asyncio.sleep(params.get("stay", 0))  # a limit that is measured now and then is given time to be measured
    return {"taken": taken, "reason": reason}
