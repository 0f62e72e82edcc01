"""Styles, scripts and the font of the pages: files held in memory, whose addresses change with their content.

Those of Swagger UI, which shows the API reference, are in the package `fastapi_offline`.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from dataclasses import dataclass
from importlib.resources import files

from fastapi import APIRouter
from starlette.responses import Response

from callboard.schemas.errors import NotFound

_TYPES = {
    "woff2": "font/woff2",
    "svg": "image/svg+xml",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
}
"""Media types of the files by the ends of their names. Styles are last, as they name addresses of others."""
_SWAGGER_UI = ("swagger-ui-bundle.js", "swagger-ui.css")
_NAMED = re.compile(rb"url\(([\w.-]+)\)")


@dataclass(frozen=True)
class Asset:
    """One file that the pages use."""

    content: bytes
    type: str
    address: str
    integrity: str
    """Hash with which a browser checks the file before it uses it."""


def _load_assets() -> dict[str, Asset]:
    assets: dict[str, Asset] = {}
    own = [file for file in files("api.dashboard").joinpath("static").iterdir() if _kind(file.name) in _TYPES]
    swagger_ui = [files("fastapi_offline").joinpath("static", name) for name in _SWAGGER_UI]
    for file in sorted([*own, *swagger_ui], key=lambda file: list(_TYPES).index(_kind(file.name))):
        content = file.read_bytes()
        if _kind(file.name) == "css":
            content = _NAMED.sub(lambda name: f"url({assets[name[1].decode()].address})".encode(), content)
        version = hashlib.sha256(content).hexdigest()[:16]
        integrity = f"sha384-{b64encode(hashlib.sha384(content).digest()).decode('ascii')}"
        address = f"/assets/{version}/{file.name}"
        assets[file.name] = Asset(content, _TYPES[_kind(file.name)], address, integrity)
    return assets


def _kind(name: str) -> str:
    return name.rpartition(".")[2]


ASSETS = _load_assets()

router = APIRouter(include_in_schema=False)


@router.get("/assets/{version}/{name}")
async def serve_asset(version: str, name: str) -> Response:
    """Serve a file that browsers may keep for good: with other content it has another address."""
    asset_file = ASSETS.get(name)
    if asset_file is None or asset_file.address != f"/assets/{version}/{name}":
        raise NotFound("There is no such file.")
    headers = {"cache-control": "public, max-age=31536000, immutable", "x-content-type-options": "nosniff"}
    return Response(asset_file.content, media_type=asset_file.type, headers=headers)
