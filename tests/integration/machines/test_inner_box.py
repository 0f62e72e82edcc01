"""The processes of an inner box agree however the host schedules them. The rest is tried in a Machine."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from tests.support.repository import REPOSITORY

SOMEBODY = 60_123
"""A user without privileges: root's inner boxes have no processes of their own."""

OUTSIDE = """
import sys
from callboard.machines.box import Box, box_refusal, our_folders
from callboard.machines.runner import inner_box

if box_refusal() is not None:
    sys.exit(f"skip: {box_refusal()}")
import os
from pathlib import Path
folder = Path(inner_box.__file__).parent
command = [*Box((folder, *our_folders()), ()).bubblewrap(), sys.executable, "-I", "-S", "-c", sys.argv[1], str(folder)]
os.execv(command[0], command)
"""
INSIDE = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
sys.argv[1] = "processes"
import inner_box

zygote, write = os.getpid(), os.write

def write_late(descriptor, data):
    if os.getppid() == zygote:  # this is the process that makes the namespaces
        time.sleep(0.5)
    return write(descriptor, data)

os.write = write_late
inner_box._try()
"""


def test_the_first_process_may_be_ready_before_its_maker_has_told_of_it() -> None:
    identity: dict[str, Any] = {} if os.geteuid() else {"user": SOMEBODY, "group": SOMEBODY, "extra_groups": []}
    done = subprocess.run(
        [sys.executable, "-P", "-c", OUTSIDE, INSIDE],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd="/",
        capture_output=True,
        text=True,
        **identity,
    )
    if done.stderr.startswith("skip: "):
        pytest.skip(done.stderr.strip())
    assert (done.returncode, done.stderr) == (0, "")
