"""The folders in a Machine's scratch folder, and which of its boxes they are in (see `machines.boxes`).

This module imports nothing, as worker and supervisor need it.
"""

TEMPORARY = "tmp"
"""Temporary files of all but user code."""
TEMPORARY_IN_BOX = "/tmp"  # noqa: S108  # it is a folder of the Machine's own
"""Path of `TEMPORARY` in the box of driver and browser, where there are namespaces.

The browser has sockets there, and the path of a socket may have 107 bytes at most."""
HOME = "home"
DRIVER = "driver"
"""Where Playwright's driver listens, and notes that it does."""
TRACES = "traces"
"""Traces that grow, and those that were just packed."""
DOWNLOADS = "downloads"
"""What the browser has downloaded; user code can read it."""
WORK = "work"
"""The folder of `ATTEMPT`, which is in the boxes, so that the other can be made anew."""
ATTEMPT = f"{WORK}/attempt"
"""What every Attempt works in. It has the same name for each: what is imported ahead may have kept a path of it."""
OF_DRIVER = (TEMPORARY, HOME, DRIVER, TRACES, DOWNLOADS, WORK)
"""All that driver and browser write in; these folders are there when a Machine starts."""
