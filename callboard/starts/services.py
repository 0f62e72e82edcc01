"""The services that the start of a Run needs."""

from __future__ import annotations

from dataclasses import dataclass, field

from callboard.projects.catalog import Catalog
from callboard.projects.input_schemas import InputSchemas
from callboard.security.egress import EgressPolicy
from callboard.security.keyring import KeyRing
from callboard.settings import Settings
from callboard.storage.store import Store
from callboard.temporal.auth_sessions import AuthSessions
from callboard.temporal.run_queries import QueueCounts, RunQueries
from callboard.temporal.runs import Runs


@dataclass(frozen=True, kw_only=True)
class StartServices:
    """The settings of an api or a worker, and the services that starts are made with."""

    settings: Settings
    runs: Runs
    run_queries: RunQueries
    auth_sessions: AuthSessions
    store: Store
    catalog: Catalog
    ring: KeyRing
    egress: EgressPolicy
    input_schemas: InputSchemas = field(default_factory=InputSchemas)
    queues: QueueCounts = field(default_factory=QueueCounts)
    """How many Runs of each project wait, as far as `maxQueued` needs it."""
