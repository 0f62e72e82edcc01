"""Whom sealed secrets belong to: what `KeyRing.seal` binds them to, so that none opens as another's."""

from __future__ import annotations


def run(workspace: str, project: str, run_id: str) -> str:
    """Secrets of one Run: its proxy's credentials, and what is secret in its sink."""
    return f"{workspace}/{project}/{run_id}"


def auth_session(workspace: str, project: str, owner: str) -> str:
    """Parameters and states of an AuthSession; `owner` as in `schemas.workflow.auth.AuthSessionRef`."""
    return f"{workspace}/{project}/auth-session/{owner}"
