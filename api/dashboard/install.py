"""Installation of the pages in the application."""

from __future__ import annotations

from fastapi import FastAPI

from api.dashboard import assets, sign_in
from api.dashboard.auth import DashboardAuth
from api.dashboard.auth_sessions import routes as auth_session_routes
from api.dashboard.jobs import job_routes, job_run_routes
from api.dashboard.playground import routes as playground_routes
from api.dashboard.projects import routes as project_routes
from api.dashboard.runs import run_routes
from api.dependencies import Services
from api.http.rate_limiter import RateLimiter
from projects.samples import Samples
from security.sign_in_sessions import SignInSessions


def install_dashboard(app: FastAPI, services: Services) -> None:
    """Make the application serve the pages to everybody who signs in with one of the keys."""
    api_keys = [key.get_secret_value() for key in services.settings.api_keys]
    app.state.dashboard_auth = DashboardAuth(services.keys, SignInSessions(api_keys, services.ring))
    app.state.samples = Samples()
    app.state.sink_test_limiter = RateLimiter(playground_routes.SINK_TEST_LIMIT, playground_routes.SINK_TEST_WINDOW)
    for router in (
        assets.router,
        sign_in.router,
        project_routes.router,
        *run_routes.routers,
        *job_routes.routers,
        *job_run_routes.routers,
        playground_routes.router,
        *auth_session_routes.routers,
    ):
        app.router.routes.extend(router.routes)
