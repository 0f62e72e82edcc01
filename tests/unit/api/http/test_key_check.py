"""Guessing keys: who is told to wait, and who is not."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.http.key_check import WRONG_KEYS, KeyCheck
from callboard.schemas.errors import TooMany, Unauthorized
from callboard.security.apikeys import ApiKeys, new_key
from callboard.storage.api_keys import StoredKeys
from tests.support.api_in_process import KEY, OTHER_KEY, Api
from tests.support.faulty_store import FaultyStore


def coming_from(address: str | None) -> dict[str, Any]:
    return {"type": "http", "client": None if address is None else (address, 1234)}


async def guess(check: KeyCheck, address: str | None, times: int = WRONG_KEYS) -> None:
    for n in range(times):
        with pytest.raises(Unauthorized):
            await check.check(b"guess %d" % n, coming_from(address))


@pytest.fixture
def store(tmp_path: Path) -> FaultyStore:
    return FaultyStore(tmp_path)


@pytest.fixture
def check(store: FaultyStore) -> KeyCheck:
    return KeyCheck(ApiKeys([KEY, OTHER_KEY]), StoredKeys(store))


async def test_an_address_has_to_wait_after_ten_wrong_keys_even_with_a_right_one(check: KeyCheck):
    await guess(check, "198.51.100.7")
    for key in (b"wrong", KEY.encode()):
        with pytest.raises(TooMany) as refused:
            await check.check(key, coming_from("198.51.100.7"))
        assert refused.value.retry_after is not None
        assert 0 < refused.value.retry_after <= 300
        assert str(refused.value.retry_after) in refused.value.message
    await guess(check, "198.51.100.8", WRONG_KEYS - 1)
    await check.check(KEY.encode(), coming_from("198.51.100.8"))  # fewer hurt nobody, and other clients do not notice


async def test_a_locked_out_address_may_use_only_the_key_it_already_used(check: KeyCheck):
    await check.check(KEY.encode(), coming_from("198.51.100.7"))
    await guess(check, "198.51.100.7")
    await check.check(KEY.encode(), coming_from("198.51.100.7"))
    with pytest.raises(TooMany):
        await check.check(OTHER_KEY.encode(), coming_from("198.51.100.7"))


@pytest.mark.parametrize(
    ("one", "another", "are_one"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:198.51.100.7", "198.51.100.7", True),
        ("::ffff:198.51.100.7", "::ffff:198.51.100.8", False),
        (None, "unknown", True),
    ],
)
async def test_a_sender_is_a_host_with_all_its_addresses(check: KeyCheck, one: str | None, another: str, are_one: bool):
    await guess(check, one)
    if are_one:
        with pytest.raises(TooMany):
            await check.check(b"wrong", coming_from(another))
    else:
        await guess(check, another, 1)


async def test_wrong_keys_of_requests_and_of_the_form_are_counted_together(api: Api):
    for n in range(WRONG_KEYS):
        path = (f"{api.base}/x/result", "/projects.json")[n % 2]
        answer = await api.client.get(path, headers={"x-api-key": "wrong"})
        assert answer.status_code == 401
        assert answer.json()["code"] == "unauthorized"
    ready = await api.client.get("/readyz", headers=[(b"x-api-key", OTHER_KEY.encode())])
    assert "projects" not in ready.json()  # the place to guess at would otherwise be here
    for path in (f"{api.base}/x/result", "/projects.json"):
        refused = await api.client.get(path, headers={"x-api-key": "wrong"})
        assert (refused.status_code, refused.json()["retirable"]) == (429, True)
        assert 0 < int(refused.headers["retry-after"]) <= 300
    transport = httpx.ASGITransport(api.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
        form = await client.post("/sign-in", data={"key": KEY}, headers={"accept": "text/html"})
        assert (form.status_code, "Too many wrong API keys" in form.text) == (429, True)
    stranger = httpx.ASGITransport(api.app, client=("198.51.100.8", 1))
    async with httpx.AsyncClient(transport=stranger, base_url="http://api.test") as client:
        assert (await client.get("/projects.json", headers={"x-api-key": KEY})).status_code == 200


async def test_the_form_of_a_stranger_takes_little_memory(api: Api):
    answer = await api.client.post("/sign-in", data={"key": "a" * 20_000})
    assert answer.status_code == 413


async def test_what_is_no_key_is_not_looked_up_nor_more_than_may_be_guessed(check: KeyCheck, store: FaultyStore):
    for key in (b"", b"wrong", b"cb_../../../../x_" + b"a" * 43, b"\xff" * 59, b"cb_" + b"a" * 30_000):
        with pytest.raises(Unauthorized):
            await check.check(key, coming_from("198.51.100.9"))
    assert store.tries == []

    async def guess_once() -> None:
        with pytest.raises((Unauthorized, TooMany)):
            await check.check(new_key()[1].encode(), coming_from("198.51.100.7"))

    await asyncio.gather(*(guess_once() for _ in range(200)))
    assert WRONG_KEYS <= len(store.tries) <= WRONG_KEYS + 4, "also if all guesses come at once"
