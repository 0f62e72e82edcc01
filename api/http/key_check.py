"""Checking API keys, and slowing down whoever guesses them.

Wrong keys are counted by the address that they come from, whether they came with a request or through the sign-in form.
After ten within five minutes, that address has to wait for the rest of these five minutes. Meanwhile a right key is
refused there like a wrong one. Otherwise a guess that hits would show.

Many clients may share one address, behind one NAT. So a key that was accepted from an address before is still accepted
from there: a neighbour who guesses, or who uses an old key, does not lock out clients that are at work. Only a key that
is used from that address for the first time has to wait.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import timedelta
from ipaddress import IPv6Address, IPv6Network, ip_address

from starlette.datastructures import Headers
from starlette.types import Scope

from api.http.rate_limiter import RateLimiter
from schemas.errors import TooMany, Unauthorized
from security.apikeys import ApiKeys, key_digest
from security.caller import Caller

KEY_HEADER = "x-api-key"

WRONG_KEYS = 10
WRONG_KEYS_WITHIN = timedelta(minutes=5)
"""Duration within which `WRONG_KEYS` wrong keys may come from one address; after these, it has to wait."""

_MAX_REMEMBERED = 4096
"""Number of remembered pairs of an address and a key that was accepted from it. The least recently used is dropped."""

_V6_PREFIX = 64
"""Length of the IPv6 prefix that counts as one address: one host owns all below it, and could use one per guess."""


def read_key(headers: Headers) -> bytes | None:
    """Return the API key of a request as it was received, or None if it has none (docs/contract.md, section 5)."""
    key = headers.get(KEY_HEADER)
    if key is None:
        scheme, _, credentials = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        key = credentials.strip()
    return key.encode("latin-1")  # This gives back the bytes as they were received.


class KeyCheck:
    """Decides whether a key is accepted; each process keeps its own counts."""

    def __init__(self, keys: ApiKeys) -> None:
        self._keys = keys
        self._failures = RateLimiter(WRONG_KEYS, WRONG_KEYS_WITHIN)
        self._accepted: OrderedDict[tuple[str, bytes], None] = OrderedDict()

    async def check(self, key: bytes, scope: Scope) -> Caller:
        """Return whose key it is, if the client of this request may use it.

        Args:
            key: The bytes of the key as they were received.
            scope: The ASGI scope of the request.

        Raises:
            Unauthorized: The key is not known.
            TooMany: Too many wrong keys came from this address, and this key was not accepted from there before.
        """
        address = _client_address(scope)
        wait = self._failures.retry_after(address)
        pair = (address, key_digest(key))
        caller = self._keys.find(key)
        if caller is not None and (not wait or pair in self._accepted):
            self._accepted[pair] = None
            self._accepted.move_to_end(pair)
            if len(self._accepted) > _MAX_REMEMBERED:
                self._accepted.popitem(last=False)
            return caller
        if wait:
            raise TooMany(
                f"Too many wrong API keys came from your address. Try again in {wait} seconds.", retry_after=wait
            )
        self._failures.record(address)
        raise Unauthorized("The API key is not known. The keys are those in CALLBOARD_API_KEYS of the api service.")


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
