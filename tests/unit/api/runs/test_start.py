"""Start: what is refused and how, what is ordered, and what a repeat gives."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from callboard.schemas.errors import Unavailable
from callboard.schemas.workflow.trace import TraceMode
from callboard.security.keyring import KeyRing
from tests.support.api_in_process import Api, MakeApi
from tests.support.constants import WORKSPACE
from tests.support.faulty_store import FaultyStore
from tests.support.present import assert_has, present

OLD = "the older secret key of the ring"
NEW = "the newer secret key of the ring"
SECRET = "t0p-s3cret"
WEBHOOK = {"type": "webhook", "url": f"https://hook.example/?token={SECRET}"}


def bad(answer: Any, path: str, status: int = 400) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert (body["code"], body["category"], body["retirable"]) == ("bad-request", "user", False)
    assert body["details"]["path"] == path
    assert body["details"]["expected"]
    assert body["details"]["errors"][0] == {"path": path, "expected": body["details"]["expected"]}
    assert body["correlationId"] == answer.headers["x-correlation-id"]
    assert SECRET not in answer.text
    return body


def start(**fields: Any) -> dict[str, Any]:
    return {"api": "list", "parameters": {}, **fields}


async def test_a_start_is_201_and_orders_a_run_with_the_contract_s_defaults(api: Api):
    answer = await api.start(start(parameters={"a": 1}))
    assert (answer.status_code, answer.headers["content-type"]) == (201, "application/json")
    run_id = answer.json()["runId"]
    assert answer.json() == {"runId": run_id, "status": "pending"}
    assert re.fullmatch(r"[A-Za-z0-9_-]{21}", run_id)
    run_input, manifest = api.input_of(run_id), present(await api.services.catalog.get_current("shop"))
    assert_has(run_input, workspace=WORKSPACE, project="shop", version=manifest.version, api="list")
    assert (run_input.parameters.text, run_input.parameters.size) == ('{"a":1}', 7)
    assert_has(run_input, maximum_attempts=3, request_timeout=timedelta(minutes=10), trace=TraceMode.ALWAYS, proxy=None)


@pytest.mark.parametrize(("said", "trace"), [(False, TraceMode.NEVER), ("on-failure", TraceMode.ON_FAILURE)])
async def test_what_a_request_says_is_what_is_ordered(api: Api, said: Any, trace: TraceMode):
    retry = {"maximumAttempts": 1}
    run_id = await api.run(api="products/details", retry=retry, requestTimeout=43_200, saveTrace=said, proxy=None)
    run_input = api.input_of(run_id)
    assert_has(run_input, api="products/details", maximum_attempts=1, trace=trace, request_timeout=timedelta(hours=12))


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"api": "list"}, "parameters"),
        (start(proxy=f"ftp://u:{SECRET}@h"), "proxy"),
        (start(sink={**WEBHOOK, "retries": 3}), "sink.retries"),
    ],
)
async def test_a_wrong_field_is_400_with_its_path(api: Api, body: dict[str, Any], path: str):
    """What a body may hold is shown by `tests/unit/schemas/test_start_request.py`."""
    bad(await api.start(body), path)
    assert api.runs.entries == {}


async def test_a_run_has_the_tags_of_its_start(api: Api):
    run_id = await api.run(tags=["nightly", "team:a/b-1_2.3"])
    assert api.input_of(run_id).tags == ("nightly", "team:a/b-1_2.3")
    answer = await api.ask(f"runs/{run_id}")
    assert answer["input"]["tags"] == ["nightly", "team:a/b-1_2.3"]


VARIABLES = f"/api/v1/workspace/{WORKSPACE}/projects/shop/env-vars"


async def test_a_tag_with_a_secret_in_it_is_refused(api: Api):
    await api.client.put(f"{VARIABLES}/TOKEN", json={"value": "of-the-shop", "secret": True})
    await api.client.put(f"{VARIABLES}/REGION", json={"value": "eu-central-1"})
    header = {"type": "webhook", "url": "https://93.184.216.34/in", "headers": {"x-key": "of-the-sink"}}
    for tag, said in (("x-of-the-shop", {}), ("of-the-sink", {"sink": header})):
        answer = await api.start(start(tags=["fine", tag], **said))
        bad(answer, "tags[1]")
        assert tag not in answer.text
    assert api.runs.entries == {}
    assert api.input_of(await api.run(tags=["eu-central-1"])).tags == ("eu-central-1",)


def with_x(value: str) -> str:
    return f'{{"api": "list", "parameters": {{"x": {value}}}}}'


@pytest.mark.parametrize(
    "sent",
    [
        *("", "{", "nonsense", "{'api': 'list'}", "[]", "null", "3", '"x"', f"{with_x('1')} x", f"\ufeff{with_x('1')}"),
        *map(with_x, ("NaN", "Infinity", "-Infinity", r'"\ud800"', r'"\ude00\ud83d"', "9" * 5000)),
        *map(with_x, ('{"x":' * 300 + "1" + "}" * 300, "[" * 100_000 + "]" * 100_000)),
        r'{"api": "list", "parameters": {"\udc00": 1}}',
        *(with_x('"ä"').encode(encoding) for encoding in ("latin-1", "utf-16")),
        with_x('"#"').encode().replace(b"#", b"\xed\xa0\x80"),
        ('{"api": "list", "api": "list", "parameters": {}}', "api"),
        (with_x('[{"b": 1, "c": 2, "b": 1}]'), "parameters.x[0].b"),
        (with_x("1e400"), "parameters.x"),
        (with_x("[0, -1e999]"), "parameters.x[1]"),
    ],
)
async def test_what_is_no_json_object_to_every_parser_is_400(api: Api, sent: str | bytes | tuple[str, str]):
    """Where the field can be named, it is: a pair is a text and the path of the field."""
    text, path = sent if isinstance(sent, tuple) else (sent, "")
    bad(await api.raw(text), path)


async def test_the_content_type_does_not_matter(api: Api):
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        headers = {"content-type": content_type}
        answer = await api.client.post(f"{api.base}/start", content=json.dumps(start()), headers=headers)
        assert answer.status_code == 201


async def test_parameters_of_any_unicode_and_any_number_are_ordered_as_they_are(api: Api):
    parameters = {"é😀\u2028\x00": ["ß", 10**40, -1.5e-300, None, True], "": {"\uffff": "\U0010ffff"}}
    run_input = api.input_of(await api.run(parameters=parameters))
    assert present(run_input.parameters.text).isascii()
    assert json.loads(present(run_input.parameters.text)) == parameters


def filled(size: int) -> bytes:
    """A start request of exactly `size` bytes."""
    frame = json.dumps(start(parameters={"x": ""}))
    return json.dumps(start(parameters={"x": "a" * (size - len(frame))})).encode()


async def test_a_body_of_1_mib_is_taken_and_one_byte_more_is_413(api: Api):
    assert (await api.raw(filled(1024 * 1024))).status_code == 201
    bad(await api.raw(filled(1024 * 1024 + 1)), "", 413)


async def test_counts_a_body_as_it_arrives_whatever_its_content_length_says(api: Api):
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 100 * 1024 * 1024:
            sent += 64 * 1024
            yield b" " * 64 * 1024

    for headers in ({}, {"content-length": "5"}, {"content-length": "-1"}, {"content-length": "²"}):
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        sent = 0
        answer = await api.client.post(f"{api.base}/start", content=chunks(), headers=raw)
        bad(answer, "", 413)
        assert sent < 2 * 1024 * 1024


async def test_a_body_announced_as_too_large_is_413_without_being_read(api: Api):
    async def nothing() -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    headers = {"content-length": str(1024 * 1024 + 1)}
    bad(await api.client.post(f"{api.base}/start", content=nothing(), headers=headers), "", 413)


async def test_an_unknown_api_is_404_and_the_one_that_was_meant_is_named(api: Api):
    answer = await api.start(start(api="product/details"))
    assert answer.status_code == 404
    assert answer.json()["code"] == "not-found"
    assert "Did you mean products/details?" in answer.json()["message"]
    for name in ("x" * 400, "../api/list", "api/list", "list.py", "\x00", "auth-sessions/check"):
        assert (await api.start(start(api=name))).status_code == 404


async def test_a_project_that_logs_in_needs_an_auth_session(api: Api):
    for body in (start(), start(authSession=None), start(authSessionId="me")):
        refusal = await api.ask("run/start", "members", method="POST", status=400, json=body)
        assert refusal["details"]["path"] == "authSession"
        assert "Auth session is required for auth session validation runs" in refusal["message"]


async def test_a_proxy_s_credentials_are_sealed_for_the_run(api: Api):
    run_id = await api.run(proxy=f"http://zo%C3%AB:{SECRET}%40@Proxy.example:3128")
    proxy = present(api.input_of(run_id).proxy)
    assert proxy.server == "http://proxy.example:3128"
    assert SECRET not in api.input_of(run_id).model_dump_json()
    ring, owner = KeyRing([OLD]), f"{WORKSPACE}/shop/{run_id}"
    assert ring.open(present(proxy.username), bound_to=owner) == "zoë"
    assert ring.open(present(proxy.password), bound_to=owner) == f"{SECRET}@"


async def test_a_proxy_without_credentials_needs_no_secret_key(make_api: MakeApi):
    api = await make_api(secret_key=[])
    proxy = api.input_of(await api.run(proxy="socks5://proxy.example:1080")).proxy
    assert_has(proxy, server="socks5://proxy.example:1080", username=None, password=None)


@pytest.mark.parametrize(
    ("text", "size"), [("a" * 31_992, 32_000), ("a" * 31_993, 32_001), ("a" * 200_000, 200_008), ("ä" * 6_000, 36_008)]
)
async def test_parameters_over_32_kb_of_ascii_go_to_the_store_before_the_start(api: Api, text: str, size: int):
    run_id = await api.run(parameters={"x": text})
    ordered = api.input_of(run_id).parameters
    assert (ordered.size, ordered.key is None, ordered.text is None) == (size, size <= 32_000, size > 32_000)
    kept = ordered.text
    if ordered.key is not None:
        assert ordered.key.startswith(f"runs/shop/{run_id}/parameters-")
        kept = present(await api.store.get(ordered.key)).decode("ascii")
    assert json.loads(present(kept)) == {"x": text}


async def test_an_unreachable_temporal_is_503_and_may_be_tried_again(api: Api):
    api.runs.failure = Unavailable("Temporal cannot be reached. Try again.")
    for answer in (await api.start(), await api.client.get(f"{api.base}/x/result")):
        assert answer.status_code == 503
        assert (answer.json()["retirable"], answer.json()["category"]) == (True, "infrastructure")


async def test_an_unforeseen_exception_is_500_and_its_text_is_only_logged(api: Api, caplog: pytest.LogCaptureFixture):
    api.runs.failure = RuntimeError("internals")
    answer = await api.start()
    assert (answer.status_code, answer.json()["code"]) == (500, "internal-server-error")
    assert answer.json()["retirable"] is True
    assert "internals" not in answer.text
    correlation_id = answer.headers["x-correlation-id"]
    assert answer.json()["correlationId"] == correlation_id
    assert any(correlation_id in record.getMessage() and record.exc_info for record in caplog.records)


async def test_a_store_that_fails_is_500_and_may_be_tried_again(make_api: MakeApi, artifacts: Path):
    api = await make_api(store=FaultyStore(artifacts, lambda key: key.endswith(".json")))
    answer = await api.start(start(parameters={"x": "a" * 40_000}))
    assert (answer.status_code, answer.json()["retirable"]) == (500, True)
    assert api.runs.entries == {}


async def test_the_same_idempotency_key_and_body_give_the_same_run(api: Api):
    body = start(parameters={"a": 1, "b": 2})
    first = await api.start(body, idempotency_key="order-7")
    second = await api.start(start(parameters={"b": 2, "a": 1}, saveTrace=None), idempotency_key="order-7")
    assert first.status_code == second.status_code == 201
    assert first.json() == second.json()
    assert re.fullmatch(r"[A-Za-z0-9_-]{21}", first.json()["runId"])
    assert len(api.runs.entries) == 1
    others = [await api.start(body, idempotency_key="order-8"), await api.start(body), await api.start(body)]
    assert len({each.json()["runId"] for each in (first, *others)}) == 4


async def test_another_body_is_a_conflict_and_leaves_the_first_run_s_untouched(api: Api):
    big = {"x": "a" * 40_000}
    answer = await api.start(start(parameters=big), idempotency_key="big")
    run_id = answer.json()["runId"]
    assert (await api.start(start(parameters=big), idempotency_key="big")).status_code == 201
    # The same parameters in another body, and other parameters.
    for other in (start(parameters=big, requestTimeout=5), start(parameters={"x": "b" * 40_000})):
        answer = await api.start(other, idempotency_key="big")
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
        assert "Idempotency-Key" in answer.json()["message"]
    assert list(api.runs.entries) == [run_id]
    left = await api.stored(f"runs/shop/{run_id}/")
    assert left == [api.input_of(run_id).parameters.key]
    assert json.loads(present(await api.store.get(left[0]))) == big


async def test_an_idempotency_key_is_one_of_1_to_255_visible_ascii_characters(api: Api):
    for keys in ([""], [" "], ["a b"], ["x" * 256], ["ä"], ["\x7f"], ["a\tb"], ["a", "b"]):
        headers = [(b"idempotency-key", key.encode()) for key in keys]
        bad(await api.client.post(f"{api.base}/start", json=start(), headers=headers), "Idempotency-Key")
    assert api.runs.entries == {}
    assert (await api.start(idempotency_key="~" * 255)).status_code == 201


async def test_a_repeat_after_the_key_ring_was_rotated_finds_its_run(make_api: MakeApi):
    before = await make_api()
    run_id = (await before.start(idempotency_key="order-7")).json()["runId"]
    after = await make_api(runs=before.runs, secret_key=[NEW, OLD])
    assert (await after.start(idempotency_key="order-7")).json()["runId"] == run_id
    assert (await after.start(start(requestTimeout=5), idempotency_key="order-7")).status_code == 409
    fresh = (await after.start(idempotency_key="order-8")).json()["runId"]
    assert fresh != run_id
    assert (await after.start(idempotency_key="order-8")).json()["runId"] == fresh
    assert set(after.runs.entries) == {run_id, fresh}


async def test_a_request_that_is_canceled_while_its_artifacts_are_written_leaves_nothing(
    make_api: MakeApi, artifacts: Path
):
    store = FaultyStore(artifacts)
    before = [key async for key in store.list("runs/")]
    api, go, reached = await make_api(store=store), asyncio.Event(), asyncio.Event()

    def hold(key: str, _data: bytes) -> asyncio.Event | None:
        if not key.startswith("runs/"):
            return None
        reached.set()
        return go

    store.hold = hold
    request = asyncio.create_task(api.start(start(parameters={"x": "a" * 40_000})))
    await reached.wait()
    request.cancel()
    await asyncio.sleep(0)  # it hears of the cancel while the write goes on
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert [key async for key in store.list("runs/")] == before
    assert api.runs.entries == {}
