"""Runs a command where nobody may make user namespaces, as on hosts that forbid them: `python … COMMAND…`.

The limit is one of the kernel for each user namespace, so this makes a user namespace whose limit is none. This program
is for a user that is not root.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    user, group = os.getuid(), os.getgid()
    os.unshare(os.CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    Path("/proc/sys/user/max_user_namespaces").write_text("0")
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
