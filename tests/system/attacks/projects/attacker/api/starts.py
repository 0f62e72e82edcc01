"""Starts a program and a thread, as harmless code does."""

import subprocess
import threading


async def automation(page, params):
    seen = threading.Event()
    thread = threading.Thread(target=seen.set)
    thread.start()
    thread.join()
    told = subprocess.run(["/bin/echo", "started"], capture_output=True, check=True, text=True).stdout.strip()
    return {"program": told, "thread": seen.is_set()}
