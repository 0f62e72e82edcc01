"""Makes `hosting/chromium-seccomp.json` from Docker's default seccomp profile: `seccomp_profile.py DEFAULT_JSON`.

DEFAULT_JSON is `seccomp/default.json` of https://github.com/moby/profiles, at the version that `SOURCE` names. The
added rules allow what the walls around a Machine, and Chromium's own sandbox, do without any capability of the
container; every rule of Docker's stays as it is.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

SOURCE = "seccomp/v0.2.3"
PROFILE = Path(__file__).parents[2] / "hosting" / "chromium-seccomp.json"

_NEW_CGROUP, _NEW_TIME = 0x02000000, 0x00000080
"""Flags of namespaces that nobody here needs. All others may be made: what is in them is then decided in them."""

ADDED: list[dict[str, Any]] = [
    {
        "names": ["clone"],
        "action": "SCMP_ACT_ALLOW",
        "args": [{"index": 0, "value": _NEW_CGROUP, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}],
        "comment": "Added for Chromium's sandbox and bubblewrap: processes in namespaces of their own.",
        "excludes": {"arches": ["s390", "s390x"]},
    },
    {
        "names": ["unshare"],
        "action": "SCMP_ACT_ALLOW",
        "args": [{"index": 0, "value": _NEW_CGROUP | _NEW_TIME, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}],
        "comment": "Added for the boxes and networks of Machines, and for Chromium's sandbox.",
    },
    {
        "names": ["setns"],
        "action": "SCMP_ACT_ALLOW",
        "comment": "Added for pasta: it joins the namespaces that it gives a network to, which are of its own user.",
    },
    {
        "names": ["chroot", "mount", "pivot_root", "umount2"],
        "action": "SCMP_ACT_ALLOW",
        "comment": "Added for Chromium's sandbox, bubblewrap and pasta: what is in a mount namespace. It needs "
        "capabilities, which a user namespace gives.",
    },
]


def main() -> None:
    """Write the profile; see the module's docstring."""
    profile = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    profile["syscalls"] += ADDED
    PROFILE.write_text(json.dumps(profile, indent="\t") + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
