"""Installation of the pages in the application."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import FastAPI

from api.dashboard import assets
from api.dashboard.routes import auth_sessions, playground, projects, run, runs, sign_in
from api.dashboard.session import Door
from api.key_check import KeyCheck
from api.rate_limiter import RateLimiter
from projects.samples import Samples
from security.keyring import KeyRing
from security.sessions import Sessions
from security.signed_trace_urls import TraceAddresses


def install(app: FastAPI, *, api_keys: Sequence[str], keys: KeyCheck, ring: KeyRing) -> None:
    """Make the application serve the pages to everybody who signs in with one of the keys."""
    app.state.door = Door(keys, Sessions(api_keys, ring))
    app.state.samples = Samples()
    app.state.sink_tests = RateLimiter(playground.SINK_TESTS, playground.SINK_TESTS_WITHIN)
    app.state.traces = TraceAddresses(ring)
    for router in (
        assets.router,
        sign_in.router,
        projects.router,
        runs.router,
        *run.routers,
        playground.router,
        *auth_sessions.routers,
    ):
        app.include_router(router)
