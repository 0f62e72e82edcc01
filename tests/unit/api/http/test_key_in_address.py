"""A key in an address: it is refused wherever it stands, is written nowhere, and nobody learns whether it is one."""

from __future__ import annotations

import logging
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from tests.support.api_in_process import KEY, Api, MakeApi
from tests.support.constants import WORKSPACE
from tests.support.faulty_store import FaultyStore

PROJECTS = f"/api/v1/workspace/{WORKSPACE}/projects"
INVENTED = "cb_0fS8u5Xjcg6J_U2wx1OxbtrMtCPGuvEmelPOk9H1djRR-3to3i1T4s64"
TWICE = quote(quote(INVENTED.replace("_", "%5F"), safe=""), safe="")


def refused(answer: httpx.Response) -> None:
    assert answer.status_code == 400, answer.text
    assert "in the header x-api-key, and revoke" in answer.text


@pytest.mark.parametrize(
    "address",
    [
        *(f"{PROJECTS}?{name}=anything" for name in ("api_key", "apikey", "Api-Key", "key", "access_token", "token")),
        *(f"{PROJECTS}?a=b&{name}=" for name in ("x-api-key", "X_API_KEY", "authorization", "%6bey")),
        *(f"{PROJECTS}/{key}" for key in (INVENTED, INVENTED.replace("_", "%5f"), TWICE)),
        *(f"{PROJECTS}?{place}" for place in (INVENTED, f"x={INVENTED}", f"cursor=a%26{INVENTED}", f"{INVENTED}=x")),
        *(f"{path}?next={quote(f'/x?y={INVENTED}', safe='')}" for path in ("/sign-in", "/readyz", "/docs", "/no")),
        f"/projects/shop/runs/{INVENTED}.json",
    ],
)
async def test_it_is_refused_wherever_it_stands_and_never_logged(
    api: Api, address: str, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    refused(await api.client.get(address))
    del api.client.headers["x-api-key"]
    refused(await api.client.get(address))
    lines = [line.getMessage() for line in caplog.records if line.name == "api.http.middleware"]
    assert [line.partition(" -> ")[0] for line in lines] == ["GET ***", "GET ***"]
    assert INVENTED[-20:] not in caplog.text.replace(address, "")


async def test_the_answer_does_not_tell_whether_there_is_such_a_key(make_api: MakeApi, tmp_path: Path):
    store = FaultyStore(tmp_path)
    api = await make_api(store=store)
    good = await api.make_key("admin")
    store.tries.clear()
    answers = set[str]()
    for key in (good, INVENTED, KEY, "wrong"):
        for headers in ({}, {"x-api-key": ""}):
            answer = await api.client.get(f"{PROJECTS}?api_key={key}", headers=headers)
            refused(answer)
            body = answer.json()
            answers.add(str({name: value for name, value in body.items() if name != "correlationId"}))
    for _ in range(20):
        refused(await api.client.get(f"{PROJECTS}/{INVENTED}", headers={"x-api-key": ""}))
    assert len(answers) == 1
    assert store.tries == [], "nothing is looked up"
    assert (await api.client.get("/readyz")).json()["status"], "and nothing is counted as a guess"
    assert (await api.client.get(f"{PROJECTS}", headers={"x-api-key": "wrong"})).status_code == 401


@pytest.mark.parametrize(
    "address", [f"{PROJECTS}/keys", "/sign-in?next=/keys", f"{PROJECTS}/shop/runs?api=key&limit=5"]
)
async def test_other_addresses_are_none_of_that(api: Api, address: str):
    assert (await api.client.get(address)).status_code != 400
