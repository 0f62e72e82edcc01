"""A proxy that a request names is held to the rule of sinks, as far as that can be known when it is accepted."""

from typing import Any

import pytest

WORKSPACE = "0f8fad5b-d9cb-469f-a165-70867728950e"
MEMBERS = f"/api/v1/workspace/{WORKSPACE}/projects/members"
SECRET = "t0p-s3cret"


def assert_refused(answer: Any, path: str) -> None:
    assert answer.status_code == 400
    assert answer.json()["details"]["path"] == path
    assert answer.json()["message"].startswith(f"{path}: ")
    assert "leads to" in answer.json()["message"]
    assert SECRET not in answer.text


@pytest.mark.parametrize(
    "proxy",
    [
        f"http://u:{SECRET}@127.0.0.1:3128",
        "https://localhost",
        "socks5://10.0.0.1:1080",
        "http://169.254.169.254",
        "http://[::1]:3128",
    ],
)
async def test_a_proxy_within_is_refused(api: Any, proxy: str):
    assert_refused(await api.start({"api": "list", "parameters": {}, "proxy": proxy}), "proxy")
    assert api.runs.entries == {}


async def test_so_is_that_of_a_login(api: Any):
    proxy = f"http://u:{SECRET}@127.0.0.1:3128"
    body = {"api": "list", "parameters": {}, "authSession": {"id": "anna", "proxy": proxy}}
    assert_refused(await api.client.post(f"{MEMBERS}/run/start", json=body), "authSession.proxy")
    for path, given in (
        ("create", {"parameters": {}}),
        ("anna/update", {"parameters": {}}),
        ("anna/validate/start", {}),
    ):
        answer = await api.client.post(f"{MEMBERS}/auth-sessions/{path}", json={**given, "proxy": proxy})
        assert_refused(answer, "proxy")


async def test_one_that_the_operator_has_opened_is_taken_and_one_that_is_not_known_here(make_api: Any):
    api = await make_api(egress_allow=["127.0.0.0/8"])
    for proxy in ("http://127.0.0.1:3128", "http://no-such-host.invalid:3128"):
        assert api.order(await api.run(proxy=proxy)).proxy.server == proxy
