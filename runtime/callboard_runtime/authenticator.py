"""Codes of an authenticator app, made of the secret that a site shows when the app is set up (RFC 6238)."""

from __future__ import annotations

import asyncio
import base64
import hmac
import time
from urllib.parse import parse_qs, urlsplit

_LEAST_LEFT = 3.0
"""Seconds that a code is good for at least when it is given: a page takes time to send it."""
_ALGORITHMS = ("sha1", "sha256", "sha512")

_used: dict[tuple[bytes, int], int] = {}
"""The number of the last period whose code was given, by key and period. A process has one Attempt."""


async def totp(secret: str) -> str:
    """Return the code that an authenticator app shows now, once it is good for three seconds more.

    No code is given twice within an Attempt, as sites take each once: the next one is waited for, for half a minute.
    The Attempt's clock goes on meanwhile. The code is not masked in what the Attempt leaves: it is worthless soon.

    Args:
        secret: The secret in base32, as the site shows it; spaces, lower case and missing padding are fine. Or the
            `otpauth://totp/…` address that its QR code has, with `algorithm`, `digits` and `period`.

    Raises:
        ValueError: It is neither. The message does not show it.
    """
    key, algorithm, digits, period = _parsed(secret)
    while True:
        now = time.time()
        number, left = int(now // period), period - now % period
        if left >= _LEAST_LEFT and number > _used.get((key, period), -1):
            _used[key, period] = number
            return _code(key, number, algorithm, digits)
        await asyncio.sleep(left)


def _code(key: bytes, number: int, algorithm: str, digits: int) -> str:
    """Return the code of a period (RFC 4226, section 5.3)."""
    digest = hmac.digest(key, number.to_bytes(8), algorithm)
    offset = digest[-1] & 15
    value = int.from_bytes(digest[offset : offset + 4]) & 0x7FFF_FFFF
    return f"{value % 10**digits:0{digits}}"


def _parsed(secret: str) -> tuple[bytes, str, int, int]:
    """Return the key, the algorithm, the number of digits and the seconds of a period. Raises ValueError."""
    given = {"secret": secret}
    try:
        if secret.strip().lower().startswith("otpauth:"):
            address = urlsplit(secret.strip())
            given = {name: values[-1] for name, values in parse_qs(address.query).items()}
            if address.netloc.lower() != "totp":
                raise ValueError
        letters = "".join(given["secret"].split()).replace("-", "").rstrip("=").upper()
        key = base64.b32decode(letters + "=" * (-len(letters) % 8))
        algorithm = given.get("algorithm", "sha1").lower()
        digits, period = int(given.get("digits", "6")), int(given.get("period", "30"))
        if not key or algorithm not in _ALGORITHMS or not 6 <= digits <= 8 or not 2 * _LEAST_LEFT <= period <= 300:
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(
            "totp takes the secret of an authenticator app in base32, such as the one that a site shows beside its QR"
            " code, or that code's otpauth://totp/… address; this is neither"
        ) from None
    return key, algorithm, digits, period
