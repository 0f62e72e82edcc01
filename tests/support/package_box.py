"""The box of this host that uv runs in, as a deploy makes it without a setting."""

from __future__ import annotations

from machines.package_box import PackageBox
from settings import Settings


def package_box() -> PackageBox:
    return PackageBox(Settings(), temporal_address="127.0.0.1:7233")
