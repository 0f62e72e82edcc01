"""How commands build environments of projects on this host."""

from __future__ import annotations

import os

from callboard.machines.package_box import PackageBox
from callboard.projects.environments import Environments
from callboard.settings import Settings
from callboard.telemetry.tracing import trace_endpoints
from callboard.temporal.connection_config import find_connection


def open_environments(settings: Settings) -> Environments:
    """Return the environments below the data folder. Nothing is built yet."""
    box = PackageBox(
        settings, temporal_address=find_connection(settings).address, other_parts=trace_endpoints(os.environ)
    )
    root = settings.data_dir.expanduser().resolve() / "environments"
    return Environments(root, box)
