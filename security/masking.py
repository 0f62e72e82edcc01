"""Masking: what people may read of an address that can hold secrets."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

MASK = "***"


def mask_url(url: str) -> str:
    """`url` with its user part and its query masked, and without its fragment; all of it if it is no URL."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return MASK
    user, at, host = parts.netloc.rpartition("@")
    netloc = f"{MASK}@{host}" if at and user else host
    return urlunsplit((parts.scheme, netloc, parts.path, MASK if parts.query else "", ""))
