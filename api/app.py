"""The FastAPI application: `create_app` makes it from the settings, and its lifespan connects what it needs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from fastapi_offline import FastAPIOffline

from api import health
from api.attempts import routes as attempt_routes
from api.auth_sessions import routes as auth_session_routes
from api.dashboard.codec_routes import install_codec
from api.dashboard.install import install_dashboard
from api.deliveries import routes as delivery_routes
from api.dependencies import AuthSessions, Deliveries, Fleet, Health, JobRuns, Jobs, RunQueries, Runs, Services
from api.http import errors, openapi
from api.http.key_check import KeyCheck
from api.http.middleware import RequestMiddleware
from api.jobs import results as job_run_results
from api.jobs import routes as job_routes
from api.jobs import run_lookup as job_run_lookup
from api.jobs import run_routes as job_run_routes
from api.projects import routes as project_routes
from api.runs import routes as run_routes
from api.runs.waiting_metrics import published_waiting
from projects.catalog import Catalog
from projects.job_definition import JobDefiner
from security.apikeys import ApiKeys
from security.egress import EgressPolicy
from security.keyring import KeyRing
from security.sealed_sinks import delivery_schedule
from security.signed_results_urls import SignedResultsUrls
from settings import Settings, installed_version
from storage.factory import open_store
from storage.store import Store
from telemetry.health import Liveness
from temporal import auth_sessions as temporal_auth_sessions
from temporal import deliveries as temporal_deliveries
from temporal import job_runs as temporal_job_runs
from temporal import jobs as temporal_jobs
from temporal import run_queries as temporal_run_queries
from temporal import runs as temporal_runs
from temporal.client import connect
from temporal.connection_config import find_connection
from temporal.fleet import FleetClient
from temporal.fleet_reader import FleetReader
from temporal.health import TemporalHealth

_DESCRIPTION = "Browser automations as durable API calls: start a Run, get its result, cancel it; keep its logins good."
_NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
"""FastAPI's own telemetry is off: its spans have the queries of addresses, which may hold signatures, and it believes
everybody's `traceparent`. `api.http.middleware` traces requests."""
_TEMPORAL_RETRY_TIMEOUT = timedelta(seconds=3)
"""How long the SDK repeats a call: a client of the API is told within seconds that Temporal is away, and may come
again."""


def create_app(
    settings: Settings,
    *,
    runs: Runs | None = None,
    run_queries: RunQueries | None = None,
    auth_sessions: AuthSessions | None = None,
    deliveries: Deliveries | None = None,
    jobs: Jobs | None = None,
    job_runs: JobRuns | None = None,
    temporal_health: Health | None = None,
    fleet: Fleet | None = None,
    store: Store | None = None,
) -> FastAPI:
    """Create the application of the api service.

    Args:
        settings: The settings of the process.
        runs: The access to Runs; by default one that connects to the settings' Temporal.
        run_queries: The access to lists and details of Runs; by default it uses the settings' Temporal connection.
        auth_sessions: The access to AuthSessions; by default it uses the same connection.
        deliveries: The access to Deliveries; by default it uses the same connection.
        jobs: The access to Jobs; by default it uses the same connection.
        job_runs: The access to JobRuns; by default it uses the same connection.
        temporal_health: The health of Temporal; by default as seen by the same connection.
        fleet: The access to who holds which Machines; by default it uses the same connection.
        store: The artifact store; by default the one that the settings name.

    Raises:
        ConfigurationError: There is no API key, an API key or a key of the ring is too short, payloads are to be
            encrypted without a key, or the setting of where sinks may lead, or of where artifacts are kept, is wrong,
            or Temporal's own configuration.
    """
    api_keys = [key.get_secret_value() for key in settings.api_keys]
    keys = KeyCheck(ApiKeys(api_keys))
    ring = KeyRing([key.get_secret_value() for key in settings.secret_key])
    egress = EgressPolicy(settings.egress_allow)
    connection = find_connection(settings)
    liveness = Liveness()
    opened_store = store or open_store(settings.artifact_location, endpoint=settings.artifacts_endpoint)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        # The connection is lazy: if Temporal is down, the first call raises Unavailable.
        client = await connect(
            settings,
            connection=connection,
            lazy=True,
            identity="callboard-api",
            retry_timeout=_TEMPORAL_RETRY_TIMEOUT,
        )
        opened_runs = runs or temporal_runs.Runs(client)
        app.state.services = Services(
            settings=settings,
            keys=keys,
            runs=opened_runs,
            run_queries=run_queries or temporal_run_queries.RunQueries(client),
            auth_sessions=auth_sessions or temporal_auth_sessions.AuthSessions(client),
            deliveries=deliveries or temporal_deliveries.Deliveries(client),
            jobs=jobs or temporal_jobs.Jobs(client),
            job_runs=job_runs or temporal_job_runs.JobRuns(client),
            job_definer=JobDefiner(settings.workspace, opened_store, ring, egress, delivery_schedule(settings)),
            temporal_health=temporal_health or TemporalHealth(client),
            temporal_namespace=connection.namespace,
            fleet=fleet or FleetReader(FleetClient(client)),
            store=opened_store,
            catalog=Catalog(opened_store, max_age=settings.poll_versions),
            ring=ring,
            egress=egress,
            liveness=liveness,
        )
        try:
            async with published_waiting(app.state.services):
                yield
        finally:
            await opened_runs.close()

    app = FastAPIOffline(
        redoc_url=None,
        title="Callboard",
        description=_DESCRIPTION,
        version=installed_version(),
        lifespan=lifespan,
        redirect_slashes=False,
        swagger_ui_parameters={"validatorUrl": None},  # The default validator is a service on the internet.
        telemetry=_NO_TELEMETRY,
    )
    for router in (
        *run_routes.routers,
        attempt_routes.router,
        auth_session_routes.router,
        delivery_routes.router,
        job_routes.router,
        job_run_routes.router,
        job_run_lookup.router,
        job_run_results.router,
        project_routes.router,
        health.router,
    ):
        app.include_router(router)
    app.state.liveness = liveness
    app.state.job_run_results = SignedResultsUrls(ring)
    install_dashboard(app, api_keys=api_keys, keys=keys, ring=ring)
    install_codec(app, settings, namespace=connection.namespace)
    app.add_middleware(RequestMiddleware, keys=keys)
    errors.install_error_handlers(app)
    openapi.install_openapi(app)
    return app
