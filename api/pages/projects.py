"""What the pages tell of a project: the version that is served, and what its settings say."""

from __future__ import annotations

from typing import Any

from projects.manifest import Manifest

TABS = (
    ("overview", "", "Overview"),
    ("runs", "/runs", "Runs"),
    ("playground", "/playground", "Playground"),
    ("auth-sessions", "/auth-sessions", "AuthSessions"),
)
"""The pages of a project: a word for each, what its address ends in, its name."""


def project_data(manifest: Manifest) -> dict[str, Any]:
    """A project as a page and its JSON tell it. Nothing of its settings that may be secret is among this."""
    settings = manifest.settings
    return {
        "project": manifest.project,
        "version": manifest.version,
        "deployedFirst": manifest.created_at.isoformat(),
        "apis": list(manifest.apis),
        "machines": settings.machines,
        "apiAccess": settings.api_access.enabled,
        "authSessions": settings.auth_sessions.type if settings.auth_sessions.enabled else None,
        "headful": settings.headful,
        "warnings": [str(warning) for warning in manifest.warnings],
    }
