"""Redact URLs of pages: what shows where an automation was stays, what gives access does not."""

from __future__ import annotations

import re
from urllib.parse import unquote_plus, urlsplit, urlunsplit

from schemas.workflow.base import clip
from security.masking import MASK, Masker
from security.secret_detection import looks_like_a_token, names_a_secret

LONGEST = 2_000
"""Most characters of a URL that is shown. A `data:` URL contains its whole page."""

_BETWEEN = re.compile(r"([&;])")
_WORDS = re.compile(r"[-_.~]")


def shown_url(url: str, masker: Masker) -> str:
    """Return `url` without its user part and its secrets.

    Secrets are what `masker` knows, and what the name or the look of a parameter marks as one.
    """
    url = masker.text(url)
    try:
        parts = urlsplit(url)
    except ValueError:
        return MASK
    if parts.scheme not in ("http", "https"):
        return clip(url, LONGEST)
    user, at, host = parts.netloc.rpartition("@")
    netloc = f"{MASK}@{host}" if at and user else host
    path = "/".join(_without_token(step) for step in parts.path.split("/"))
    shown = urlunsplit((parts.scheme, netloc, path, _pairs(parts.query), _pairs(parts.fragment)))
    return clip(shown, LONGEST)


def _pairs(text: str) -> str:
    return "".join(part if part in ("&", ";") else _pair(part) for part in _BETWEEN.split(text))


def _pair(text: str) -> str:
    name, equals, value = text.partition("=")
    if not equals:
        return "/".join(_without_token(step) for step in text.split("/"))
    hidden = names_a_secret(unquote_plus(name)) or looks_like_a_token(unquote_plus(value))
    return f"{name}={MASK if value and hidden else value}"


def _without_token(step: str) -> str:
    # Parts between hyphens are checked: names of articles are as long as tokens, but made of words.
    return MASK if any(looks_like_a_token(part) for part in _WORDS.split(unquote_plus(step))) else step
