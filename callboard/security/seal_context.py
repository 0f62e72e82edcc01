"""Build the owners that `KeyRing.seal` binds secrets to, so that no secret opens as another owner's."""

from __future__ import annotations


def run(workspace: str, project: str, run_id: str) -> str:
    """Return the owner of the secrets of one Run: its proxy's credentials, and the secrets of its sink."""
    return f"{workspace}/{project}/{run_id}"


def auth_session(workspace: str, project: str, owner: str) -> str:
    """Return the owner of the parameters and states of an AuthSession; `owner` is that of an `AuthSessionRef`."""
    return f"{workspace}/{project}/auth-session/{owner}"


def job(workspace: str, project: str, job_id: str) -> str:
    """Return the owner of the secrets of a Job: its proxy's credentials, and those of its sink and notifications."""
    return f"{workspace}/{project}/job/{job_id}"


def variable(workspace: str, project: str | None, name: str) -> str:
    """Return the owner of an environment variable of a project, or (None) of the workspace."""
    return f"{workspace}/variables/{'' if project is None else project}/{name}"


def handoff(workspace: str, project: str, handoff_id: str) -> str:
    """Return the owner of what a person has answered; the id begins with that of the Run that has asked."""
    return f"{workspace}/{project}/handoff/{handoff_id}"


def code(workspace: str, project: str, code_id: str) -> str:
    """Return the owner of a code that was pushed to a project."""
    return f"{workspace}/{project}/code/{code_id}"


def addressees(workspace: str, project: str) -> str:
    """Return the owner of the fingerprints of those to whom codes of a project are sent."""
    return f"{workspace}/{project}/addressees"


def run_variables(workspace: str, project: str, run_id: str) -> str:
    """Return the owner of the environment variables that the Attempts of one Run get."""
    return f"{workspace}/{project}/{run_id}/variables"
