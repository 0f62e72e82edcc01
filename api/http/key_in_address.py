"""Refusal of keys in addresses: browsers, proxies and their logs keep these.

It looks at the form of an address alone, and at no key that there is. So the answer tells nobody whether he has guessed
one, and every address of that form is refused, with a key of whatever kind.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote

from starlette.types import Scope

from api.http.key_check import KEY_HEADER
from schemas.errors import BadRequest
from security.apikeys import has_key

_NAMES = frozenset({"apikey", "xapikey", "key", "token", "accesstoken", "authorization"})
"""Names of parameters in which people send keys, without hyphens and underscores."""
_DECODED = 4
"""How often an address is decoded. A route gets it decoded once, but a link may hold another link."""


def holds_key(scope: Scope) -> bool:
    """Tell whether the address of a request has a key in it, or what is meant for one."""
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope["query_string"]
    text = f"{path.decode('latin-1')}?{query.decode('latin-1')}"
    for _ in range(_DECODED):
        if "%" not in text or has_key(text):
            break
        text = unquote(text)
    return has_key(text) or any(
        name.lower().replace("-", "").replace("_", "") in _NAMES
        for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    )


def key_in_address() -> BadRequest:
    """Return the error for such a request."""
    return BadRequest(
        f"A key does not belong into an address, which others keep. Send it in the header {KEY_HEADER}, and revoke the "
        "one that was sent.",
        details={"path": "", "expected": f"a key in the header {KEY_HEADER}"},
    )
