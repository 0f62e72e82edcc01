"""Services of the request handlers: a process creates them once, and every endpoint is handed them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, cast
from urllib.parse import quote

from fastapi import Depends, Request

from api.http.key_check import KeyCheck
from api.http.rate_limiter import RateLimiter
from api.http.uploads import Uploads
from api.live_views import LiveViews
from callboard.projects.catalog import Catalog, deploys_seen_within
from callboard.projects.job_definition import JobDefiner
from callboard.projects.samples import Samples
from callboard.security.apikeys import ApiKeys
from callboard.security.egress import EgressPolicy
from callboard.security.keyring import KeyRing
from callboard.security.sealed_sinks import delivery_schedule
from callboard.security.sign_in_sessions import SignInSessions
from callboard.settings import Settings
from callboard.starts.services import StartServices
from callboard.storage.api_keys import StoredKeys
from callboard.storage.ended_sessions import EndedSessions
from callboard.storage.factory import open_store
from callboard.telemetry.health import Liveness
from callboard.temporal.alerts import Alerts
from callboard.temporal.auth_sessions import AuthSessions
from callboard.temporal.bulks import Bulks
from callboard.temporal.client import connect
from callboard.temporal.connection_config import Connection
from callboard.temporal.deliveries import Deliveries
from callboard.temporal.deploys import Deploys
from callboard.temporal.ended_by_hour import EndedByHour
from callboard.temporal.fleet import FleetClient
from callboard.temporal.fleet_view import FleetReader
from callboard.temporal.handoffs import Handoffs
from callboard.temporal.health import TemporalHealth
from callboard.temporal.inboxes import Inboxes
from callboard.temporal.job_runs import JobRuns
from callboard.temporal.jobs import Jobs
from callboard.temporal.live_dials import LiveDials
from callboard.temporal.project_changes import ProjectChanges
from callboard.temporal.run_queries import RunQueries
from callboard.temporal.runs import Runs
from callboard.temporal.sweep_schedule import Sweeps

_TEMPORAL_RETRY_TIMEOUT = timedelta(seconds=3)
"""How long the SDK repeats a call: a client of the API is told within seconds that Temporal is away, and may come
again."""

CODES_PER_MINUTE = 600
"""Number of codes that may be pushed to one project within a minute, by each api."""
SINK_TESTS = 10
"""Number of tests of sinks that one session may send within a minute."""


@dataclass(frozen=True, kw_only=True)
class Services(StartServices):
    """The settings, and the services that were made from them."""

    keys: KeyCheck
    stored_keys: StoredKeys
    handoffs: Handoffs
    inboxes: Inboxes
    deliveries: Deliveries
    alerts: Alerts
    bulks: Bulks
    jobs: Jobs
    job_runs: JobRuns
    job_definer: JobDefiner
    temporal_health: TemporalHealth
    temporal_namespace: str
    fleet: FleetReader
    sweeps: Sweeps
    project_changes: ProjectChanges
    deploys: Deploys
    uploads: Uploads
    live_views: LiveViews
    sessions: SignInSessions
    """Sessions of people who are signed in to the pages."""
    ended_sessions: EndedSessions
    samples: Samples = field(default_factory=Samples)
    sink_tests: RateLimiter = field(default_factory=lambda: RateLimiter(SINK_TESTS, timedelta(minutes=1)))
    """The tests of sinks that each session has sent."""
    pushed_codes: RateLimiter = field(default_factory=lambda: RateLimiter(CODES_PER_MINUTE, timedelta(minutes=1)))
    """The codes that were pushed to each project."""
    ended_by_hour: EndedByHour = field(default_factory=EndedByHour)
    liveness: Liveness = field(default_factory=Liveness)
    """What has to go on in this process."""
    shutting_down: asyncio.Event = field(default_factory=asyncio.Event)
    """Event that is set when the process is told to stop: clients that wait for a Run are then answered at once."""

    def temporal_ui_url(self, *path: str) -> str | None:
        """Return the address of a part of the namespace in Temporal's Web UI; None if no setting says where that is.

        Args:
            path: The parts of the path below the namespace, such as `workflows` and the id of one.
        """
        if self.settings.temporal_ui_url is None:
            return None
        parts = [quote(part, safe="") for part in (self.temporal_namespace, *path)]
        return f"{self.settings.temporal_ui_url.rstrip('/')}/namespaces/{'/'.join(parts)}"


async def open_services(settings: Settings, connection: Connection) -> Services:
    """Return the services that the settings ask for. Temporal may be down: it is connected to at the first call.

    Raises:
        ConfigurationError: There is no API key, an API key or a key of the ring is too short, payloads are to be
            encrypted without a key, or the setting of where sinks may lead, or of where artifacts are kept, is wrong.
    """
    api_keys = [key.get_secret_value() for key in settings.api_keys]
    operators = ApiKeys(api_keys)
    ring = KeyRing.of(settings)
    egress = EgressPolicy(settings.egress_allow)
    store = open_store(settings.artifact_location, endpoint=settings.artifacts_endpoint)
    stored_keys = StoredKeys(store)
    client = await connect(
        settings, connection=connection, lazy=True, identity="callboard-api", retry_timeout=_TEMPORAL_RETRY_TIMEOUT
    )
    return Services(
        settings=settings,
        keys=KeyCheck(operators, stored_keys),
        stored_keys=stored_keys,
        runs=Runs(client),
        run_queries=RunQueries(client),
        auth_sessions=AuthSessions(client),
        handoffs=Handoffs(client),
        inboxes=Inboxes(client),
        deliveries=Deliveries(client),
        alerts=Alerts(client),
        bulks=Bulks(client),
        jobs=Jobs(client),
        job_runs=JobRuns(client),
        job_definer=JobDefiner(settings.workspace, store, ring, egress, delivery_schedule(settings)),
        temporal_health=TemporalHealth(client),
        temporal_namespace=connection.namespace,
        fleet=FleetReader(FleetClient(client)),
        sweeps=Sweeps(client),
        project_changes=ProjectChanges(client),
        deploys=Deploys(client),
        uploads=Uploads(settings, store),
        live_views=LiveViews(ring, LiveDials(client).dial, settings.live_url),
        store=store,
        catalog=Catalog(store, deploys_seen_within(is_bucket=settings.keeps_artifacts_in_bucket)),
        ring=ring,
        egress=egress,
        sessions=SignInSessions(api_keys, ring),
        ended_sessions=EndedSessions(store),
    )


async def _services(request: Request) -> Services:
    return cast("Services", request.app.state.services)


ServicesDep = Annotated[Services, Depends(_services)]
