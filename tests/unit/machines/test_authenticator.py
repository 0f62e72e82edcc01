"""Codes of an authenticator app, as RFC 6238 says, and each at most once in an Attempt."""

from __future__ import annotations

import asyncio
from base64 import b32encode

import pytest
from callboard_runtime import authenticator, totp

SECRET = b32encode(b"12345678901234567890").decode()


class Clock:
    """The time, which goes on as somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(authenticator, "time", clock)
    monkeypatch.setattr(authenticator, "asyncio", clock)
    monkeypatch.setattr(authenticator, "_used", {})
    return clock


@pytest.mark.parametrize(
    ("time", "algorithm", "code"),
    [
        (59, "SHA1", "94287082"),
        (59, "SHA256", "46119246"),
        (59, "SHA512", "90693936"),
        (1111111111, "SHA1", "14050471"),
        (2000000000, "SHA256", "90698825"),
        (20000000000, "SHA512", "47863826"),
    ],
)
async def test_codes_are_those_of_the_standard(clock: Clock, time: int, algorithm: str, code: str) -> None:
    digits = {"SHA1": 20, "SHA256": 32, "SHA512": 64}[algorithm]
    secret = b32encode((b"1234567890" * 7)[:digits]).decode().rstrip("=")
    clock.now = time // 30 * 30
    assert await totp(f"otpauth://totp/shop:anna?secret={secret}&algorithm={algorithm}&digits=8") == code


async def test_a_secret_may_be_written_as_sites_show_it(clock: Clock) -> None:
    clock.now = 59.0 - 29
    assert await totp("gezd gnbv gy3t qojq gezd gnbv gy3t qojq ") == "287082"


async def test_a_code_is_given_once_and_only_if_it_is_good_for_three_seconds(clock: Clock) -> None:
    clock.now = 28.0
    codes = [await totp(SECRET) for _ in range(2)]
    assert clock.now == 60.0
    assert (codes[0], len(set(codes))) == ("287082", 2)
    await totp(b32encode(b"another secret").decode())
    assert clock.now == 60.0


async def test_two_at_the_same_time_get_different_codes(clock: Clock) -> None:
    assert len(set(await asyncio.gather(totp(SECRET), totp(SECRET), totp(SECRET)))) == 3


@pytest.mark.parametrize(
    "secret",
    ["", "=", "12345678", "GEZDGNB1", "ümlaut", "otpauth://hotp/x?secret=GEZDGNBV", "otpauth://totp/x"]
    + [f"otpauth://totp/x?secret=GEZDGNBV&{wrong}" for wrong in ("algorithm=MD5", "digits=5", "digits=x", "period=5")],
)
async def test_what_is_no_secret_is_refused_and_not_shown(secret: str) -> None:
    with pytest.raises(ValueError, match="totp takes the secret of an authenticator app") as refused:
        await totp(secret)
    assert not secret or secret == "=" or secret not in str(refused.value)
