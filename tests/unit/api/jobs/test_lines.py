"""Jobs that are sent as lines: stored as they arrive, in little memory, and refused by the number of a line."""

import asyncio
import json
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from api.jobs.definition import ITEM_LIMIT
from callboard.schemas.workflow.job import PAYLOAD_CHUNK
from tests.support.api_in_process import KEY, Api
from tests.support.constants import WORKSPACE
from tests.support.polling import until

BASE = f"/api/v1/workspace/{WORKSPACE}/projects/shop/jobs"
HEADERS = {"content-type": "application/x-ndjson; charset=utf-8"}
HEAD = {"id": "long", "configuration": {}}
MIB = 1024 * 1024


def lines(count: int, head: dict[str, Any] = HEAD, **parameters: Any) -> Iterator[bytes]:
    yield json.dumps(head).encode() + b"\n"
    for number in range(count):
        yield json.dumps({"apiName": "list", "parameters": {"number": number, **parameters}}).encode() + b"\n"


async def in_pieces(text: Iterator[bytes], size: int = 64 * 1024) -> AsyncIterator[bytes]:
    """The lines in pieces of a size that has nothing to do with them."""
    rest = b""
    for line in text:
        rest += line
        while len(rest) >= size:
            yield rest[:size]
            rest = rest[size:]
    yield rest


async def stored(api: Api) -> set[str]:
    return {key async for key in api.store.list("jobs/shop/")}


async def create(api: Api, content: Any) -> Any:
    return await api.client.post(BASE, content=content, headers=HEADERS)


async def numbers(api: Api, job_id: str = "long") -> list[int]:
    answer = await api.client.get(f"{BASE}/{job_id}/payload")
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line)["parameters"]["number"] for line in answer.text.splitlines()]


@pytest.mark.parametrize("count", [0, 1, PAYLOAD_CHUNK, PAYLOAD_CHUNK + 1, 1_000, 1_001])
async def test_a_payload_of_any_length_is_read_as_it_was_sent(api: Api, count: int):
    answer = await create(api, in_pieces(lines(count), size=1_000))
    assert (answer.status_code, answer.json()) == (201, {"id": "long", "message": "created"})
    assert await numbers(api) == list(range(count))
    read = (await api.client.get(f"{BASE}/long")).json()
    assert read["payload_count"] == count
    if count <= 1_000:
        assert [item["parameters"]["number"] for item in read["payload"]] == list(range(count))
    else:
        assert "payload" not in read
    (listed,) = (await api.client.get(BASE)).json()
    assert [item["parameters"]["number"] for item in listed["payload"]] == list(range(min(count, 100)))


async def test_an_update_may_be_sent_as_lines(api: Api):
    await create(api, in_pieces(lines(3)))
    head = {"configuration": {"maxRuns": 2}}
    answer = await api.client.put(f"{BASE}/long", content=in_pieces(lines(5, head)), headers=HEADERS)
    assert answer.status_code == 200, answer.text
    assert await numbers(api) == [0, 1, 2, 3, 4]
    assert (await api.client.get(f"{BASE}/long")).json()["configuration"] == {"maxRuns": 2}


async def test_blank_lines_and_line_ends_of_any_kind_are_no_items(api: Api):
    text = b"\n\r\n" + b"\r\n\n".join(line.strip() for line in lines(2)) + b"\n \n"
    assert (await create(api, text)).status_code == 201
    assert await numbers(api) == [0, 1]


def after(count: int, *further: bytes) -> bytes:
    return b"".join([*lines(count), *(line + b"\n" for line in further)])


ITEM = b'{"apiName":"list","parameters":{}}'
WRONG: list[tuple[Callable[[], bytes], int, str]] = [
    (lambda: b"[]\n", 1, "a JSON object"),
    (lambda: b'{"id":"long"}\n', 1, "a value: this field is required"),
    (lambda: b'{"id":"long","configuration":{},"payload":[]}\n' + ITEM, 1, "one of the fields"),
    (lambda: b"{" + b" " * MIB + b"}\n", 1, f"lines of at most {MIB} bytes"),
    (lambda: after(1, b"{", ITEM), 3, "JSON as RFC 8259 has it"),
    (lambda: after(0, b'"list"'), 2, "a JSON object"),
    (lambda: after(0, b"", b'{"apiName":"list","parameters":{"a":1,"a":2}}'), 3, "each name once"),
    (lambda: after(2, b'{"apiName":"list"}'), 4, "a value: this field is required"),
    (lambda: after(3 * PAYLOAD_CHUNK, b'{"apiName":"lists","parameters":{}}'), 3 * PAYLOAD_CHUNK + 2, "name of an API"),
    (lambda: after(1, b'{"apiName":"list","parameters":{"a":"' + b"a" * ITEM_LIMIT + b'"}}'), 3, "lines of at most"),
    (lambda: after(1, b'{"apiName":"list","parameters":{}').rstrip(), 3, "JSON as RFC 8259 has it"),
]


@pytest.mark.parametrize(("body", "number", "expected"), WRONG)
async def test_a_line_that_is_wrong_is_named_by_its_number_and_nothing_stays(
    api: Api, body: Callable[[], bytes], number: int, expected: str
):
    before = await stored(api)
    answer = await create(api, body())
    assert answer.status_code == 400, answer.text
    assert answer.json()["message"].startswith(f"Line {number}: ")
    assert answer.json()["details"]["line"] == number
    assert expected in answer.json()["details"]["expected"]
    assert (await stored(api), api.jobs.known) == (before, {})


async def test_an_update_with_a_wrong_line_leaves_the_job_as_it_was(api: Api):
    await create(api, in_pieces(lines(3)))
    before = await stored(api)
    content = b"".join(lines(PAYLOAD_CHUNK + 1, {"configuration": {}})) + b"no item\n"
    answer = await api.client.put(f"{BASE}/long", content=content, headers=HEADERS)
    assert (answer.status_code, answer.json()["details"]["line"]) == (400, PAYLOAD_CHUNK + 3)
    assert await stored(api) == before
    assert await numbers(api) == [0, 1, 2]


async def test_an_empty_body_is_refused(api: Api):
    for body in (b"", b"\n\n"):
        answer = await create(api, body)
        assert (answer.status_code, answer.json()["message"]) == (400, "The body is empty.")


async def test_the_id_of_a_job_that_exists_is_refused_before_its_payload_is_read(api: Api):
    await create(api, in_pieces(lines(1)))
    before = await stored(api)
    assert (await create(api, in_pieces(lines(3 * PAYLOAD_CHUNK)))).status_code == 409
    assert await stored(api) == before


async def test_a_body_that_is_too_large_is_refused_whether_or_not_it_says_so(api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("api.jobs.definition.LIMIT", MIB)
    before = await stored(api)
    content = b"".join(lines(40, text="a" * 30_000))
    assert len(content) > MIB
    for body in (content, in_pieces(iter([content]))):
        answer = await create(api, body)
        assert (answer.status_code, answer.json()["code"]) == (413, "bad-request")
        assert str(MIB) in answer.json()["details"]["expected"]
    assert await stored(api) == before
    assert (await create(api, in_pieces(lines(10, text="a" * 30_000)))).status_code == 201


async def test_a_client_that_leaves_leaves_nothing(api: Api, served: str):
    before = await stored(api)
    address = urlsplit(served)
    _, writer = await asyncio.open_connection(address.hostname, address.port)
    head = f"POST {BASE} HTTP/1.1\r\nhost: api\r\nx-api-key: {KEY}\r\ncontent-type: application/x-ndjson\r\n"
    writer.write(f"{head}content-length: {MIB}\r\n\r\n".encode() + b"".join(lines(3 * PAYLOAD_CHUNK)))

    async def is_stored() -> bool:
        return await stored(api) != before

    async def is_gone() -> bool:
        return await stored(api) == before

    await until(is_stored)
    writer.close()
    await writer.wait_closed()
    await until(is_gone)
    assert api.jobs.known == {}


async def test_a_long_payload_takes_no_more_memory_than_a_short_one(api: Api):
    async def peak(job_id: str, count: int) -> int:
        tracemalloc.reset_peak()
        head = {"id": job_id, "configuration": {}}
        assert (await create(api, in_pieces(lines(count, head, text="a" * 1_000)))).status_code == 201
        return tracemalloc.get_traced_memory()[1]

    await create(api, in_pieces(lines(PAYLOAD_CHUNK, {"id": "first", "configuration": {}})))
    tracemalloc.start()
    try:
        short, long = await peak("short", 8 * PAYLOAD_CHUNK), await peak("long", 40 * PAYLOAD_CHUNK)
    finally:
        tracemalloc.stop()
    assert long < short + 2 * MIB  # The longer one has 10 MiB.


async def test_json_has_a_limit_of_its_own(api: Api):
    item = {"apiName": "list", "parameters": {"text": "a" * 100_000}}
    for count, status in ((30, 201), (90, 413)):
        answer = await api.client.post(BASE, json={"id": f"of-{count}", "payload": [item] * count, "configuration": {}})
        assert answer.status_code == status
