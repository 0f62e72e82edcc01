"""What a key may do: the scopes of keys (docs/contract.md, section 5.3); and how others refer to a key."""

from __future__ import annotations

from enum import StrEnum

from callboard.schemas.rest.base import ResponseModel


class Scope(StrEnum):
    """A scope of a key: a kind of calls that the key allows."""

    RUNS_START = "runs:start"
    RUNS_READ = "runs:read"
    RUNS_CANCEL = "runs:cancel"
    AUTH_SESSIONS = "authsessions"
    HANDOFFS = "handoffs"
    CODES = "codes"
    JOBS = "jobs"
    DEPLOY = "deploy"
    ENV_VARS = "env-vars"
    KEYS = "keys"
    ADMIN = "admin"
    """All of these, and what no other scope allows."""

    @property
    def meaning(self) -> str:
        """What it allows, in a sentence for people."""
        return _MEANINGS[self]


_MEANINGS = {
    Scope.RUNS_START: "Start Runs, start them again, and send results again.",
    Scope.RUNS_READ: "See projects and Runs, with their inputs, results, logs, traces and files.",
    Scope.RUNS_CANCEL: "Cancel Runs.",
    Scope.AUTH_SESSIONS: "Create, check, import and delete logins; what they hold is never shown.",
    Scope.HANDOFFS: "Answer what Runs ask people, and use the browsers of Attempts.",
    Scope.CODES: "Push codes that sites have sent, as a gateway of SMS or mail does.",
    Scope.JOBS: "Make, change, trigger and delete Jobs, and see their results.",
    Scope.DEPLOY: "Deploy versions of projects, change which one is in service, and delete projects.",
    Scope.ENV_VARS: "Set and delete environment variables; the values of secrets are not shown.",
    Scope.KEYS: "Make and revoke keys that allow no more than this one.",
    Scope.ADMIN: "All of these, the audit, the fleet, and payloads in Temporal's pages.",
}


class KeyRef(ResponseModel):
    """A key, as what was done with it names it."""

    id: str
    """The visible id of the key."""
    name: str
