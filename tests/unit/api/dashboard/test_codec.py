"""The codec endpoint: who may have payloads decrypted, from which pages, and what the Temporal Web UI is answered."""

import json
from base64 import b64decode, b64encode
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from temporalio.api.common.v1 import Payload

from callboard.schemas.errors import ConfigurationError
from callboard.temporal.data_converter import data_converter
from tests.support.api_in_process import KEY, SECRET, Api, MakeApi, api_settings
from tests.support.dashboard_client import Pages, browser_client, signed_in_client

UI = "http://127.0.0.1:8233"
PLAIN = Payload(metadata={"encoding": b"json/plain"}, data=b'"sent by hand"')
SAME_SITE = {"origin": UI, "sec-fetch-site": "same-site", "x-namespace": "default"}
"""What a browser and the Web UI send where the UI's origin is another one than that of the pages."""


@pytest.fixture
async def api(make_api: MakeApi) -> Api:
    return await make_api(temporal_ui_url=f"{UI}/", encrypt_payloads=True)


def body(*payloads: Payload) -> dict[str, Any]:
    """Payloads as the Web UI sends them."""
    return {
        "payloads": [
            {
                "metadata": {name: b64encode(value).decode() for name, value in payload.metadata.items()},
                "data": b64encode(payload.data).decode(),
            }
            for payload in payloads
        ]
    }


async def encrypted(*values: Any, namespace: str = "default", **fields: Any) -> list[Payload]:
    return await data_converter(api_settings(encrypt_payloads=True, **fields), namespace).encode(values)


def values_of(answer: httpx.Response) -> list[Any]:
    assert answer.status_code == 200, answer.text
    return [json.loads(b64decode(payload["data"])) for payload in answer.json()["payloads"]]


@pytest.mark.parametrize(
    "headers",
    [
        SAME_SITE,
        # Below the UI's own address a proxy hands the request on: the header Host names that origin.
        {"origin": UI, "host": "127.0.0.1:8233", "sec-fetch-site": "same-origin"},
    ],
)
async def test_whoever_is_signed_in_sees_payloads_in_the_web_ui(pages: Pages, headers: dict[str, str]):
    payloads = body(*await encrypted({"n": 1}, "two"), PLAIN)
    answer = await pages.post(
        "/codec/decode?preserveStorageRefs=true", json=payloads, headers=headers | {"accept": "*/*"}
    )
    assert values_of(answer) == [{"n": 1}, "two", "sent by hand"]
    assert answer.json()["payloads"][-1] == body(PLAIN)["payloads"][0], "what is not encrypted is left as it is"
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["access-control-allow-origin"] == UI
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert answer.headers["cache-control"] == "no-store"


async def test_what_the_ui_sends_into_a_workflow_is_encrypted(pages: Pages):
    encoded = (await pages.post("/codec/encode", json=body(PLAIN), headers=SAME_SITE)).json()
    assert b64decode(encoded["payloads"][0]["metadata"]["encoding"]) == b"binary/encrypted"
    assert b"sent by hand" not in b64decode(encoded["payloads"][0]["data"])
    assert values_of(await pages.post("/codec/decode", json=encoded, headers=SAME_SITE)) == ["sent by hand"]


@pytest.mark.parametrize("path", ["/codec/decode", "/codec/encode"])
async def test_nobody_else_is_answered(api: Api, pages: Pages, path: str):
    payloads = body(*await encrypted("hidden"))
    pages.cookies.clear()
    for client in (pages, browser_client(api, cookie="callboard-session=made-up")):
        for content in (json.dumps(payloads).encode(), TOO_MUCH):
            answer = await client.post(path, content=content, headers=SAME_SITE)
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized"), "it redirects nobody"
            assert "payloads" not in answer.json()
            assert answer.headers["access-control-allow-origin"] == UI, "so that the UI can read why"


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://127.0.0.1:9999", "sec-fetch-site": "same-site"},
        {"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
        {"origin": "null", "sec-fetch-site": "cross-site"},
        {"origin": f"{UI}.evil.example"},
        {"origin": "https://127.0.0.1:8233"},
        {"sec-fetch-site": "same-site"},
    ],
)
async def test_a_page_of_another_origin_is_refused_also_with_the_cookie(pages: Pages, headers: dict[str, str]):
    answer = await pages.post("/codec/decode", json=body(*await encrypted("hidden")), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert "access-control-allow-origin" not in answer.headers


async def preflight(api: Api, origin: str, headers: str = "content-type,x-namespace") -> httpx.Response:
    asked = {"origin": origin, "access-control-request-method": "POST", "access-control-request-headers": headers}
    return await browser_client(api).options("/codec/decode", headers=asked)


async def test_the_preflight_of_the_ui_is_allowed_and_no_other(api: Api, make_api: MakeApi):
    answer = await preflight(api, UI)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == UI
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert {"content-type", "x-namespace"} <= set(answer.headers["access-control-allow-headers"].lower().split(", "))
    for refused in (await preflight(api, "http://127.0.0.1:9999"), await preflight(api, UI, "x-api-key")):
        assert refused.status_code == 400
    assert "access-control-allow-origin" not in (await preflight(api, "http://127.0.0.1:9999")).headers
    assert (await preflight(await make_api(encrypt_payloads=True), UI)).status_code == 400, "no UI is named"


@pytest.mark.parametrize("url", ["HTTPS://UI.example:443/temporal/", "https://ui.example"])
async def test_the_origin_of_the_ui_is_compared_as_browsers_write_it(make_api: MakeApi, url: str):
    api = await make_api(temporal_ui_url=url, encrypt_payloads=True)
    assert (await preflight(api, "https://ui.example")).status_code == 200


async def test_a_command_needs_an_api_key_and_wrong_ones_are_counted(api: Api):
    client = browser_client(api)
    payloads = body(*await encrypted("shown"))
    assert values_of(await client.post("/codec/decode", json=payloads, headers={"x-api-key": KEY})) == ["shown"]
    wrong = [await client.post("/codec/decode", json=payloads, headers={"x-api-key": f"guess-{n}"}) for n in range(11)]
    assert [answer.status_code for answer in wrong] == [401] * 10 + [429]
    assert (await client.sign_in("guess")).status_code == 429, "with those of the sign-in form"


TOO_MUCH = b'{"payloads": [' + b"{}," * 10_000 + b"{}]}"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        *((text, "The body holds no payloads of Temporal") for text in (b"", b"{", b"[1]", b"[]", b'"text"')),
        *(
            (b'{"payloads": ' + text, "The body holds no payloads of Temporal")
            for text in (b"1}", b'[{"data": "\xff"}]}')
        ),
        (b"\xff\xfe", "The body holds no payloads of Temporal"),
        (TOO_MUCH, "too many payloads"),
    ],
)
async def test_what_are_no_payloads_or_too_many_is_refused(
    pages: Pages, monkeypatch: pytest.MonkeyPatch, text: bytes, told: str
):
    answer = await pages.post("/codec/decode", content=text, headers=SAME_SITE)
    assert (answer.status_code, told in answer.json()["message"]) == (400, True)
    monkeypatch.setattr("api.dashboard.codec_routes._BODY_LIMIT", 1000)
    answer = await pages.post("/codec/decode", content=text + b" " * 1001, headers=SAME_SITE)
    assert answer.status_code == 413


async def test_payloads_of_another_namespace_or_key_are_told_apart(pages: Pages):
    elsewhere = body(*await encrypted(1, namespace="elsewhere"))
    answer = await pages.post("/codec/decode", json=elsewhere, headers=SAME_SITE | {"x-namespace": "elsewhere"})
    assert (answer.status_code, "keys of namespace 'default'" in answer.text) == (400, True)
    answer = await pages.post("/codec/decode", json=elsewhere, headers=SAME_SITE)
    assert (answer.status_code, answer.json()["details"]["path"]) == (400, "payloads")
    other_key = body(*await encrypted(1, secret_key=[SecretStr("another key of the ring")]))
    answer = await pages.post("/codec/decode", json=other_key, headers=SAME_SITE)
    assert (answer.status_code, "which is not in CALLBOARD_SECRET_KEY" in answer.text) == (400, True)
    assert SECRET not in answer.text


async def test_it_decrypts_also_where_encryption_is_switched_off(make_api: MakeApi):
    client = await signed_in_client(await make_api(temporal_ui_url=UI))
    payloads = body(*await encrypted("of before"))
    assert values_of(await client.post("/codec/decode", json=payloads, headers=SAME_SITE)) == ["of before"]


async def test_an_api_without_a_key_does_not_start_with_encryption(make_api: MakeApi):
    with pytest.raises(ConfigurationError, match="CALLBOARD_ENCRYPT_PAYLOADS is on"):
        await make_api(secret_key=[], encrypt_payloads=True)
