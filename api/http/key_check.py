"""Checking API keys, and slowing down whoever guesses them.

Wrong keys are counted by the address that they come from, whether they came with a request or through the sign-in form.
After ten within five minutes, that address has to wait for the rest of these five minutes. Meanwhile a right key is
refused there like a wrong one. Otherwise a guess that hits would show.

Many clients may share one address, behind one NAT. So a key that was accepted from an address before is still accepted
from there: a neighbour who guesses, or who uses an old key, does not lock out clients that are at work. Only a key that
is used from that address for the first time has to wait, and nothing is looked up for it.

A key in an address is refused, since browsers, proxies and their logs keep addresses. Every address that has a text in
the form of a key is refused, whether there is such a key or not. So the answer tells nobody whether a guess was right.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Address, IPv6Network, ip_address
from urllib.parse import parse_qsl, unquote

from starlette.datastructures import Headers
from starlette.types import Scope

from api.http.access import audit_note
from api.http.rate_limiter import RateLimiter
from callboard.schemas.errors import BadRequest, TooMany, Unauthorized
from callboard.schemas.rest.audit import UNKNOWN
from callboard.schemas.timestamps import utc_text
from callboard.security.apikeys import ApiKeys, Caller, has_key, key_digest, key_id_of
from callboard.storage.api_keys import StoredKeys

KEY_HEADER = "x-api-key"

WRONG_KEYS = 10
WRONG_KEYS_WITHIN = timedelta(minutes=5)
"""Duration within which `WRONG_KEYS` wrong keys may come from one address; after these, it has to wait."""

_MAX_REMEMBERED = 4096
"""Number of remembered pairs of an address and a key that was accepted from it. The least recently used is dropped."""

_FIRST_CHECKS = 4
"""Number of keys that are checked at a time that were not accepted from their address before. They may be guesses,
which must not occupy the store, however many come at once."""

_NAMES_OF_KEYS = frozenset({"apikey", "xapikey", "key", "token", "accesstoken", "authorization"})
"""Names of parameters in which people send keys, without hyphens and underscores."""
_DECODED = 4
"""How often an address is decoded. A route gets it decoded once, but a link may hold another link."""

_V6_PREFIX = 64
"""Length of the IPv6 prefix that counts as one address: one host owns all below it, and could use one per guess."""


def read_key(headers: Headers) -> bytes | None:
    """Return the API key of a request as it was received, or None if it has none (docs/contract.md, section 5)."""
    key = read_key_header(headers)
    if key is not None:
        return key
    scheme, _, credentials = (_read_header(headers, "authorization") or b"").partition(b" ")
    return credentials.strip() if scheme.lower() == b"bearer" else None


def read_key_header(headers: Headers) -> bytes | None:
    """Return what the header for keys has, as it was received, or None if there is none."""
    return _read_header(headers, KEY_HEADER)


def _read_header(headers: Headers, name: str) -> bytes | None:
    # A header that is sent twice is one list (RFC 9110): whoever stands in between may have read either of the two.
    values = headers.getlist(name)
    return ", ".join(values).encode("latin-1") if values else None  # This gives back the bytes as they were received.


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
        name.lower().replace("-", "").replace("_", "") in _NAMES_OF_KEYS
        for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    )


def key_in_address() -> BadRequest:
    """Return the error for such a request."""
    return BadRequest(
        f"A key does not belong into an address, which others keep. Send it in the header {KEY_HEADER}, and revoke the "
        "one that was sent.",
        details={"path": "", "expected": f"a key in the header {KEY_HEADER}"},
    )


class KeyCheck:
    """Decides whether a key is accepted; each process keeps its own counts."""

    def __init__(self, operators: ApiKeys, stored: StoredKeys) -> None:
        self._operators = operators
        self._stored = stored
        self._failures = RateLimiter(WRONG_KEYS, WRONG_KEYS_WITHIN)
        self._accepted: OrderedDict[tuple[str, bytes], None] = OrderedDict()
        self._first_checks = asyncio.Semaphore(_FIRST_CHECKS)

    async def check(self, key: bytes, scope: Scope) -> Caller:
        """Return whose key it is, if the client of this request may use it.

        Args:
            key: The bytes of the key as they were received.
            scope: The ASGI scope of the request.

        Raises:
            Unauthorized: The key is not known, or has ended.
            TooMany: Too many wrong keys came from this address, and this key was not accepted from there before.
            Unavailable: The store does not say whether the key is good.
        """
        audit_note(scope).claimed_id = key_id_of(key) or UNKNOWN
        address = _client_address(scope)
        digest = key_digest(key)
        pair = (address, digest)
        self._refuse_if_waiting(pair)
        caller = self._operators.find(digest)
        if caller is None and key_id_of(key) is not None:
            caller = await self._find_stored(key, digest, pair)
        if caller is None:
            self._accepted.pop(pair, None)
            self._failures.record(address)
            raise Unauthorized("The API key is not known: it is wrong, or it was revoked.")
        self._use(caller)
        self._accepted[pair] = None
        self._accepted.move_to_end(pair)
        if len(self._accepted) > _MAX_REMEMBERED:
            self._accepted.popitem(last=False)
        return caller

    async def check_id(self, key_id: str) -> Caller:
        """Return whose key has this id, for somebody who has shown the key itself before.

        Raises:
            Unauthorized: There is no such key any more, or it has ended.
            Unavailable: The store does not say whether the key is good.
        """
        caller = self._operators.get(key_id) or await self._stored.get(key_id)
        if caller is None:
            raise Unauthorized("The API key was revoked.")
        self._use(caller)
        return caller

    def _refuse_if_waiting(self, pair: tuple[str, bytes]) -> None:
        if pair not in self._accepted and (wait := self._failures.retry_after(pair[0])):
            raise TooMany(
                f"Too many wrong API keys came from your address. Try again in {wait} seconds.", retry_after=wait
            )

    async def _find_stored(self, key: bytes, digest: bytes, pair: tuple[str, bytes]) -> Caller | None:
        if pair in self._accepted:
            return await self._stored.find(key, digest)
        async with self._first_checks:
            self._refuse_if_waiting(pair)
            return await self._stored.find(key, digest)

    def _use(self, caller: Caller) -> None:
        if caller.ends_at is not None and datetime.now(UTC) >= caller.ends_at:
            raise Unauthorized(f"The API key has ended, at {utc_text(caller.ends_at)}.")
        if self._operators.get(caller.id) is None:
            self._stored.note_use(caller.id)


def _client_address(scope: Scope) -> str:
    """Return the address that a request came from; for IPv6, the network that one host has for itself."""
    client: tuple[str, int] | None = scope.get("client")
    try:
        address = ip_address(client[0] if client else "")
    except ValueError:  # A proxy did not know the address either. All clients without an address share one count.
        return ""
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Network((address, _V6_PREFIX), strict=False))
