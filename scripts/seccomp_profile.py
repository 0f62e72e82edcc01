"""Makes `chromium-seccomp.json` from Docker's default seccomp profile: `seccomp_profile.py DEFAULT_JSON`.

DEFAULT_JSON is `seccomp/default.json` of https://github.com/moby/profiles, at the version that `SOURCE` names. The
added rules allow what Chromium's sandbox does without any capability; every rule of Docker's stays as it is.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

SOURCE = "seccomp/v0.2.3"
PROFILE = Path(__file__).parents[1] / "chromium-seccomp.json"

_NEW_USER, _NEW_PID, _NEW_NET = 0x10000000, 0x20000000, 0x40000000
_ALL_NAMESPACES = 0x7E020000
"""Flags of `clone` that make a namespace: the mask of Docker's own rule, which allows none of them."""

ADDED: list[dict[str, Any]] = [
    {
        "names": ["clone"],
        "action": "SCMP_ACT_ALLOW",
        "args": [
            {
                "index": 0,
                "value": _ALL_NAMESPACES & ~(_NEW_USER | _NEW_PID | _NEW_NET),
                "valueTwo": 0,
                "op": "SCMP_CMP_MASKED_EQ",
            }
        ],
        "comment": "Added for Chromium: processes in user, pid and network namespaces of their own, and no others.",
        "excludes": {"arches": ["s390", "s390x"]},
    },
    {
        "names": ["unshare"],
        "action": "SCMP_ACT_ALLOW",
        "args": [{"index": 0, "value": _NEW_USER, "op": "SCMP_CMP_EQ"}],
        "comment": "Added for Chromium: it tries whether it may make a user namespace.",
    },
    {
        "names": ["chroot"],
        "action": "SCMP_ACT_ALLOW",
        "comment": "Added for Chromium: renderers see no file. It needs a capability, which a user namespace gives.",
    },
]


def main() -> None:
    """Write the profile; see the module's docstring."""
    profile = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    profile["syscalls"] += ADDED
    PROFILE.write_text(json.dumps(profile, indent="\t") + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
