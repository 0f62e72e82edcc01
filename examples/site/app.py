"""The example site as a FastAPI application."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Header, Query, Response
from fastapi.responses import HTMLResponse

from examples.site import back_office, inbox, members, pages, proxy
from examples.site.logins import Logins
from examples.site.products import PAGES, PRODUCTS, catalogue


def create_app(*, proxy_port: int | None = None, webhook_secret: Path | None = None) -> FastAPI:
    """A shop of its own: it has its own memory, of failures and of logins. On request, a proxy beside it."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncGenerator[None]:
        if proxy_port is None:
            yield
            return
        async with proxy.serving(proxy_port):
            yield

    app = FastAPI(title="Callboard example site", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    failed: Counter[str] = Counter()
    logins = Logins()
    app.include_router(members.routes(logins))
    app.include_router(back_office.routes(logins))
    app.include_router(inbox.routes(webhook_secret))

    @app.get("/", response_class=HTMLResponse)
    async def home() -> str:
        return pages.home()

    @app.get("/products", response_class=HTMLResponse)
    async def products(page: int = 1) -> HTMLResponse:
        if not 1 <= page <= PAGES:
            return _not_found(f"There is no page {page}.")
        return HTMLResponse(pages.products(page))

    @app.get("/products/{number}", response_class=HTMLResponse)
    async def product(number: int) -> HTMLResponse:
        if not 1 <= number <= len(PRODUCTS):
            return _not_found(f"There is no product {number}.")
        return HTMLResponse(pages.details(PRODUCTS[number - 1]))

    @app.get("/slow", response_class=HTMLResponse)
    async def slow(seconds: Annotated[float, Query(ge=0, le=3600)] = 3) -> str:
        await asyncio.sleep(seconds)
        return pages.page("Slow", f"<p>This page took <output>{seconds:g}</output> seconds.</p>")

    @app.get("/flaky", response_class=HTMLResponse)
    async def flaky(key: str, failures: Annotated[int, Query(ge=0)] = 1) -> HTMLResponse:
        if failed[key] < failures:
            failed[key] += 1
            body = f"<p>This was failure <output>{failed[key]}</output> of {failures}.</p>"
            return HTMLResponse(pages.page("Out of order", body), status_code=500)
        return HTMLResponse(pages.page("Flaky", f"<p>It works, after <output>{failures}</output> failures.</p>"))

    @app.get("/download/catalogue.csv")
    async def download() -> Response:
        headers = {"content-disposition": 'attachment; filename="catalogue.csv"'}
        return Response(catalogue(), media_type="text/csv", headers=headers)

    @app.get("/visitor", response_class=HTMLResponse)
    async def visitor(via: Annotated[str | None, Header()] = None) -> str:
        return pages.visitor(via)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    return app


def _not_found(why: str) -> HTMLResponse:
    return HTMLResponse(pages.page("Not found", f"<p>{why}</p>"), status_code=404)
