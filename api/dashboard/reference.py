"""The API reference: a page that everybody may see, on which who is signed in can try calls with the own key."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.dashboard.auth import read_session
from api.dashboard.page_route import PageRoute
from api.dashboard.rendering import render_page
from api.dependencies import ServicesDep

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/docs")
async def show_reference(request: Request, services: ServicesDep) -> Response:
    """Show all calls, as the OpenAPI description has them."""
    session = await read_session(request, services)
    data = {"openApi": request.app.openapi_url}
    workspace = services.settings.workspace if session else ""
    return render_page(request, "reference.html", data, workspace=workspace)
