"""The FastAPI application: `create_app` makes it of the services that its routes are handed."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig

from api import alerts, audit, codes, deliveries, env_vars, fleet, health, keys, storage
from api.attempts import calls as attempt_calls
from api.attempts import live_calls
from api.auth_sessions import calls as auth_session_calls
from api.auth_sessions import records as auth_session_records
from api.auth_sessions import results as auth_session_results
from api.dashboard import assets, page_route, reference, sign_in
from api.dashboard.auth import authorizes_call
from api.dashboard.codec_routes import install_codec
from api.dependencies import Services
from api.handoffs import calls as handoff_calls
from api.http import errors, openapi
from api.http.audit import AuditRecorder
from api.http.middleware import RequestMiddleware
from api.jobs import edit, job_runs, jobs
from api.mcp.route import mcp_route
from api.playground import page as playground
from api.projects import calls as project_calls
from api.projects import deploys, versions
from api.runs import bulk
from api.runs import calls as run_calls
from api.runs.waiting import published_waiting
from callboard.settings import installed_version
from callboard.storage.audit_log import AuditLog

_DESCRIPTION = "Browser automations as durable API calls: start a Run, get its result, cancel it; keep its logins good."
_NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
"""FastAPI's own telemetry is off: its spans have the queries of addresses, which may hold signatures, and it believes
everybody's `traceparent`. `api.http.middleware` traces requests."""


def create_app(services: Services) -> FastAPI:
    """Create the application of the api service, which closes the services at its end.

    Raises:
        ConfigurationError: Payloads are to be encrypted without a key.
    """
    recorder = AuditRecorder(AuditLog(services.store))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        try:
            async with published_waiting(services.catalog, services.run_queries):
                yield
        finally:
            await services.live_views.close()
            await recorder.close()
            await services.runs.close()
            await services.stored_keys.close()

    app = FastAPI(
        docs_url=None,
        redoc_url=None,
        title="Callboard",
        description=_DESCRIPTION,
        version=installed_version(),
        lifespan=lifespan,
        redirect_slashes=False,
        telemetry=_NO_TELEMETRY,
    )
    for router in (
        *bulk.routers,  # before the calls of one Run: their paths fit these, too
        *run_calls.routers,
        *attempt_calls.routers,
        *live_calls.routers,
        *auth_session_calls.routers,
        auth_session_results.router,
        *auth_session_records.routers,
        *handoff_calls.routers,
        codes.router,
        *deliveries.routers,
        alerts.router,
        *project_calls.routers,
        *versions.routers,
        *jobs.routers,
        edit.router,
        *job_runs.routers,
        *fleet.routers,
        storage.router,
        *audit.routers,
        deploys.router,
        *env_vars.routers,
        *keys.routers,
        health.router,
        assets.router,
        sign_in.router,
        reference.router,
        playground.router,
    ):
        # To include a router, FastAPI would build all its routes once more, in the first request to any of them.
        app.router.routes.extend(router.routes)
    app.router.routes.append(mcp_route(services))
    app.state.services = services
    install_codec(app, services)
    app.add_middleware(
        RequestMiddleware, keys=services.keys, audit=recorder, of_page=partial(authorizes_call, services)
    )
    errors.install_error_handlers(app)
    page_route.install_unknown_pages(app, services)
    openapi.install_openapi(app)
    return app
