"""A proxy that a request names is held to the rule of sinks, as far as that can be known when it is accepted.

Which addresses are refused is shown by `tests/unit/security/test_egress.py`, and which spellings by
`tests/unit/schemas/test_host.py`.
"""

from typing import Any

import pytest

from tests.support.api_in_process import Api, MakeApi
from tests.support.constants import WORKSPACE
from tests.support.present import present

MEMBERS = f"/api/v1/workspace/{WORKSPACE}/projects/members"
SECRET = "t0p-s3cret"


def assert_refused(answer: Any, path: str) -> None:
    assert answer.status_code == 400
    assert answer.json()["details"]["path"] == path
    assert answer.json()["message"].startswith(f"{path}: ")
    assert "leads to" in answer.json()["message"]
    assert SECRET not in answer.text


@pytest.mark.parametrize("proxy", [f"http://u:{SECRET}@127.0.0.1:3128", "https://localhost", "socks5://10.0.0.1:1080"])
async def test_a_proxy_within_is_refused(api: Api, proxy: str):
    assert_refused(await api.start({"api": "list", "parameters": {}, "proxy": proxy}), "proxy")
    assert api.runs.entries == {}


async def test_the_browser_is_given_the_address_that_was_checked(make_api: MakeApi):
    api = await make_api(egress_allow=["127.0.0.0/8"])
    for proxy, server in (
        ("http://127.0.0.1.:3128", "http://127.0.0.1:3128"),
        ("http://Host.Test.", "http://host.test."),
    ):
        assert present(api.input_of(await api.run(proxy=proxy)).proxy).server == server


async def test_so_is_that_of_a_login(api: Api):
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


async def test_accepts_a_proxy_that_the_operator_opened_or_that_does_not_resolve(make_api: MakeApi):
    api = await make_api(egress_allow=["127.0.0.0/8"])
    for proxy in ("http://127.0.0.1:3128", "http://no-such-host.invalid:3128"):
        assert present(api.input_of(await api.run(proxy=proxy)).proxy).server == proxy
