"""Starts processes of every stubborn kind, and then never ends."""

import signal
import subprocess
import sys

SLEEPER = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(3600)  # forks-of-the-lab"


async def automation(page, params=None, **_kwargs):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen([sys.executable, "-c", SLEEPER])
    subprocess.Popen([sys.executable, "-c", SLEEPER], start_new_session=True)
    subprocess.Popen(["sh", "-c", f"{sys.executable} -c '{SLEEPER}' & exit 0"], start_new_session=True).wait()
    while True:
        pass
