"""Redact URLs of pages: keep what shows where an automation was, and remove what gives access."""

from __future__ import annotations

import re
from urllib.parse import unquote_plus, urlsplit, urlunsplit

from callboard.schemas.mask import MASK
from callboard.schemas.workflow.base import clip
from callboard.security.masking import Masker
from callboard.security.secret_detection import is_secret_name, looks_like_token

MAX_URL_LENGTH = 2_000
"""Most characters of a URL that is shown. A `data:` URL contains its whole page."""

_SEPARATOR = re.compile(r"([&;])")
_WORD_SEPARATOR = re.compile(r"[-_.~]")


def redact_url(url: str, masker: Masker) -> str:
    """Return `url` without its user part and its secrets.

    Secrets are what `masker` knows, and what the name or the look of a parameter marks as one.
    """
    url = masker.mask_text(url)
    try:
        parts = urlsplit(url)
    except ValueError:
        return MASK
    if parts.scheme not in ("http", "https"):
        return clip(url, MAX_URL_LENGTH)
    user, at, host = parts.netloc.rpartition("@")
    netloc = f"{MASK}@{host}" if at and user else host
    path = "/".join(_redact_path_segment(step) for step in parts.path.split("/"))
    shown = urlunsplit((parts.scheme, netloc, path, _redact_pairs(parts.query), _redact_pairs(parts.fragment)))
    return clip(shown, MAX_URL_LENGTH)


def _redact_pairs(text: str) -> str:
    return "".join(part if part in ("&", ";") else _redact_pair(part) for part in _SEPARATOR.split(text))


def _redact_pair(text: str) -> str:
    name, equals, value = text.partition("=")
    if not equals:
        return "/".join(_redact_path_segment(step) for step in text.split("/"))
    hidden = is_secret_name(unquote_plus(name)) or looks_like_token(unquote_plus(value))
    return f"{name}={MASK if value and hidden else value}"


def _redact_path_segment(step: str) -> str:
    # Parts between hyphens are checked: names of articles are as long as tokens, but made of words.
    return MASK if any(looks_like_token(part) for part in _WORD_SEPARATOR.split(unquote_plus(step))) else step
