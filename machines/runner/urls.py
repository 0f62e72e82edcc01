"""Show addresses in a log without what may be secret in them."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

_MASK = "***"
_LONGEST = 500
"""Most characters of an address that are shown."""


def shown(url: str) -> str:
    """Return `url` with user part and query masked, without its fragment; of a `data:` address only the type."""
    if url.startswith("data:"):
        return f"{url[:100].partition(',')[0]},…"
    try:
        parts = urlsplit(url)
    except ValueError:
        return _MASK
    _, at, host = parts.netloc.rpartition("@")
    masked = urlunsplit((parts.scheme, f"{_MASK}@{host}" if at else host, parts.path, _MASK if parts.query else "", ""))
    return masked if len(masked) <= _LONGEST else f"{masked[:_LONGEST]}…"
