"""What a key may do: the scopes of keys (docs/contract.md, section 5.3); and how others refer to a key."""

from __future__ import annotations

from enum import StrEnum

from callboard.schemas.rest.base import ResponseModel


class Scope(StrEnum):
    """A scope of a key: what whoever has the key may do."""

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


class KeyRef(ResponseModel):
    """A key, as what was done with it names it."""

    id: str
    """The visible id of the key."""
    name: str
