"""Paths of what answers link to. They have no host, because a proxy may stand before the server."""

from __future__ import annotations


def attempt_path(workspace: str, project: str, run_id: str, number: int) -> str:
    """Return the path of an Attempt; those of its log and its trace begin with it."""
    return f"/api/v1/workspace/{workspace}/projects/{project}/runs/{run_id}/attempts/{number}"
