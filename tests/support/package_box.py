"""The box of this host that uv runs in, as a deploy makes it without a setting, or with these."""

from __future__ import annotations

from typing import Any

from callboard.machines.package_box import PackageBox
from callboard.settings import Settings


def package_box(**settings: Any) -> PackageBox:
    return PackageBox(Settings(**settings), temporal_address="127.0.0.1:7233")
