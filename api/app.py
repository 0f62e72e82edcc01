"""The application: `create_app` makes it from the settings, its lifespan opens and closes what it needs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from api import docs, errors
from api.boundary import Boundary
from api.key_check import KeyCheck
from api.pages.install import install as install_pages
from api.parts import AuthSessions, Deliveries, Parts, Records, Runs
from api.routes import attempts as attempt_routes
from api.routes import auth_sessions as auth_session_routes
from api.routes import deliveries as delivery_routes
from api.routes import health
from api.routes import projects as project_routes
from api.routes import records as record_routes
from api.routes import runs as run_routes
from engine import auth_sessions as engine_auth_sessions
from engine import deliveries as engine_deliveries
from engine import records as engine_records
from engine import runs as engine_runs
from projects.catalog import Catalog
from security.apikeys import ApiKeys
from security.egress import Egress
from security.keyring import KeyRing
from settings import Settings, installed_version
from storage.open import open_store
from storage.store import Store

_ABOUT = "Browser automations as durable API calls: start a Run, get its result, cancel it; keep its logins good."


def create_app(
    settings: Settings,
    *,
    runs: Runs | None = None,
    records: Records | None = None,
    auth_sessions: AuthSessions | None = None,
    deliveries: Deliveries | None = None,
    store: Store | None = None,
) -> FastAPI:
    """The api service.

    Args:
        settings: Of the process.
        runs: The engine; by default one that connects to the settings' Temporal.
        records: The same for lists and records of Runs; by default over one connection with `runs`.
        auth_sessions: The same for AuthSessions; by default over one connection with `runs`.
        deliveries: The same for Deliveries.
        store: The artifact store; by default the settings' own.

    Raises:
        ConfigurationError: There is no API key, or one of them or of the ring is too short, or what sinks may lead to
            is wrong.
        NotSupported: Artifacts are to lie where this version cannot keep them.
    """
    api_keys = [key.get_secret_value() for key in settings.api_keys]
    keys = KeyCheck(ApiKeys(api_keys))
    ring = KeyRing([key.get_secret_value() for key in settings.secret_key])
    egress = Egress(settings.egress_allow)
    opened = store or open_store(settings.artifact_location, endpoint=settings.artifacts_endpoint)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        connected = await engine_runs.Runs.connect(settings)  # lazy: it costs nothing where it is not used
        app.state.parts = Parts(
            settings=settings,
            keys=keys,
            runs=runs or connected,
            records=records or engine_records.Records(connected.client),
            auth_sessions=auth_sessions or engine_auth_sessions.AuthSessions(connected.client),
            deliveries=deliveries or engine_deliveries.Deliveries(connected.client),
            store=opened,
            catalog=Catalog(opened, max_age=settings.poll_versions),
            ring=ring,
            egress=egress,
        )
        yield

    app = FastAPIOffline(
        redoc_url=None,
        title="Callboard",
        description=_ABOUT,
        version=installed_version(),
        lifespan=lifespan,
        redirect_slashes=False,
        swagger_ui_parameters={"validatorUrl": None},  # which is an address outside
    )
    app.include_router(run_routes.router)
    app.include_router(record_routes.router)
    app.include_router(attempt_routes.router)
    app.include_router(auth_session_routes.router)
    app.include_router(delivery_routes.router)
    app.include_router(project_routes.router)
    app.include_router(health.router)
    install_pages(app, api_keys=api_keys, keys=keys, ring=ring)
    app.add_middleware(Boundary, keys=keys)
    errors.install(app)
    docs.install(app)
    return app
