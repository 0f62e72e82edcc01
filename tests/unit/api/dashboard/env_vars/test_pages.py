"""The pages of environment variables: their forms, what they show, and that no secret is on them."""

import re

import pytest

from tests.support.api_in_process import Api, MakeApi
from tests.support.constants import WORKSPACE
from tests.support.dashboard_client import ESCAPED, EVIL, Pages, signed_in_client

SECRET = "a-value-that-nobody-may-read"


@pytest.mark.parametrize("place", ["/projects/recorded/env-vars", "/env-vars"])
async def test_a_variable_is_set_shown_and_deleted(api: Api, pages: Pages, place: str):
    answer = await pages.send_form(place, name="SHOP_TEXT", value=f"{EVIL}\r\nsecond", scopes="AUTHORING")
    assert (answer.status_code, answer.headers["location"]) == (303, f"{place}?done=set&name=SHOP_TEXT")
    await pages.send_form(place, name="SHOP_KEY", value=SECRET, secret="on", scopes="PUBLISHED")
    text = (await pages.get(place)).text
    assert "SHOP_KEY" in text
    assert SECRET not in text
    assert ESCAPED in text
    (key, plain) = (await pages.get(f"{place}.json")).json()["envVars"]
    assert (key["secret"], plain["secret"]) == (True, False)
    assert (plain["value"], plain["scopes"]) == (f"{EVIL}\nsecond", ["AUTHORING"])
    for name in ("SHOP_KEY", "SHOP_TEXT"):
        answer = await pages.send_form(f"{place}/{name}/delete")
        assert answer.headers["location"] == f"{place}?done=delete&name={name}"
    assert (await pages.get(f"{place}.json")).json() == {"envVars": []}


async def test_what_is_wrong_stands_beside_its_field_and_no_value_is_shown(api: Api, pages: Pages):
    place = "/projects/shop/env-vars"
    for name, scopes, field in (("PATH", "PUBLISHED", "name"), ("KEY", "DEV", "scopes")):
        answer = await pages.send_form(place, name=name, value=SECRET, scopes=scopes)
        assert answer.status_code == 400
        assert f'id="e-{field}"' in answer.text
        assert SECRET not in answer.text
        assert f'value="{name}"' in answer.text


@pytest.mark.parametrize(("environment", "scope"), [("dev", "AUTHORING"), ("deployed", "PUBLISHED")])
async def test_the_scope_that_attempts_here_see_is_chosen(make_project_api: MakeApi, environment: str, scope: str):
    api = await make_project_api({}, environment=environment)
    pages = await signed_in_client(api)
    assert re.findall(r'value="(\w+)" checked', (await pages.get("/env-vars")).text) == [scope]
    for body in ({"value": "x"}, {"value": "x", "scopes": None}):
        answer = await api.client.put(f"/api/v1/workspace/{WORKSPACE}/env-vars/SHOP_KEY", json=body)
        assert answer.json()["scopes"] == [scope]
