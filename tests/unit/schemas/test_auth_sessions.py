"""The bodies of the calls about AuthSessions: bounds, defaults, ids, and a browser's state in every detail."""

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from schemas.errors import BadRequest
from schemas.rest.auth_sessions import CreateAuthSession, ImportAuthSession, UpdateAuthSession, ValidateAuthSession
from schemas.rest.browser_state import BrowserState
from schemas.rest.field_errors import validation_error
from schemas.rest.run_auth_session import is_auth_session_id

SECRET = "t0p-s3cret"
COOKIE = {
    "name": "sid",
    "value": SECRET,
    "domain": ".shop.example",
    "path": "/",
    "expires": 1_900_000_000.5,
    "httpOnly": True,
    "secure": False,
    "sameSite": "Lax",
}
STATE: dict[str, Any] = {
    "cookies": [COOKIE],
    "origins": [{"origin": "https://shop.example", "localStorage": [{"name": "token", "value": SECRET}]}],
    "sessionStorage": [{"origin": "http://localhost:81", "sessionStorage": [{"name": "x", "value": "\u2028"}]}],
}


def refusal(model: type[BaseModel], value: Any) -> BadRequest:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(value)
    problem = validation_error(caught.value, model)
    assert SECRET not in problem.message + str(problem.details) + str(caught.value)
    return problem


def path_of(model: type[BaseModel], value: Any) -> str:
    details = refusal(model, value).details
    assert details is not None
    assert details["expected"]
    return details["path"]


def test_create_and_update_have_defaults_and_leave_no_trace_unless_asked():
    for request in (CreateAuthSession.model_validate({"parameters": {}}), UpdateAuthSession(parameters={})):
        assert (request.create_attempts, request.check_attempts, request.save_trace) == (3, 3, False)
        assert (request.proxy, request.request_timeout) == (None, 600)
    assert CreateAuthSession(parameters={}).id is None


def test_validate_has_the_contract_s_defaults():
    request = ValidateAuthSession.model_validate({"proxy": None})
    assert (request.auto_recreate, request.check_attempts, request.create_attempts) == (True, 3, 3)
    assert (request.proxy, request.request_timeout) == (None, 600)


@pytest.mark.parametrize(
    ("model", "body", "path"),
    [
        (CreateAuthSession, {}, "parameters"),
        (CreateAuthSession, {"parameters": None}, "parameters"),
        (CreateAuthSession, {"parameters": [SECRET]}, "parameters"),
        (CreateAuthSession, {"parameters": SECRET}, "parameters"),
        (CreateAuthSession, {"parameters": {}, "id": 7}, "id"),
        (CreateAuthSession, {"parameters": {}, "createAttempts": 0}, "createAttempts"),
        (CreateAuthSession, {"parameters": {}, "checkAttempts": 11}, "checkAttempts"),
        (CreateAuthSession, {"parameters": {}, "checkAttempts": True}, "checkAttempts"),
        (CreateAuthSession, {"parameters": {}, "requestTimeout": 43_201}, "requestTimeout"),
        (CreateAuthSession, {"parameters": {}, "saveTrace": "no"}, "saveTrace"),
        (CreateAuthSession, {"parameters": {}, "proxy": f"ftp://a:{SECRET}@h"}, "proxy"),
        (CreateAuthSession, {"parameters": {}, "autoRecreate": True}, "autoRecreate"),
        (UpdateAuthSession, {"parameters": {}, "id": "anna"}, "id"),
        (UpdateAuthSession, {}, "parameters"),
        (ValidateAuthSession, {"parameters": {}}, "parameters"),
        (ValidateAuthSession, {"saveTrace": True}, "saveTrace"),
        (ValidateAuthSession, {"autoRecreate": "yes"}, "autoRecreate"),
        (ValidateAuthSession, {"requestTimeout": 0}, "requestTimeout"),
        (ImportAuthSession, {"id": "anna"}, "state"),
        (ImportAuthSession, {"state": SECRET}, "state"),
        (ImportAuthSession, {"state": STATE, "type": "RECORDER"}, "type"),
    ],
)
def test_what_is_wrong_is_refused_with_its_path(model: type[BaseModel], body: Any, path: str):
    assert path_of(model, body) == path


def test_a_typo_is_answered_with_the_name_that_was_meant_in_that_very_body():
    assert "Did you mean createAttempts?" in refusal(CreateAuthSession, {"parameters": {}, "attempts": 1}).message
    assert "Did you mean autoRecreate?" in refusal(ValidateAuthSession, {"autorecreate": True}).message
    origin = {"origin": "https://shop.example", "localstorage": []}
    problem = refusal(ImportAuthSession, {"state": {"cookies": [], "origins": [origin]}})
    assert problem.details is not None
    assert {line["path"] for line in problem.details["errors"]} == {
        "state.origins[0].localStorage",
        "state.origins[0].localstorage",
    }


@pytest.mark.parametrize("text", ["abc", "Anna.Smith+shop_1@example-2.com", "0" * 200, "a--"])
def test_an_id_that_fits_a_path_is_taken(text: str):
    assert CreateAuthSession.model_validate({"parameters": {}, "id": text}).id == text


@pytest.mark.parametrize(
    "text", ["", "ab", "0" * 201, "~abc", ".abc", "-abc", "a/b", "a b", "abc\n", "äbc", "a%2F", "..."]
)
def test_any_other_id_is_refused(text: str):
    assert path_of(CreateAuthSession, {"parameters": {}, "id": text}) == "id"
    assert path_of(ImportAuthSession, {"state": STATE, "id": text}) == "id"


@given(st.text("aZ0._@+-~/", max_size=250) | st.text())
def test_an_id_never_leaves_its_place_in_a_path(text: str):
    if is_auth_session_id(text):
        assert 3 <= len(text) <= 200
        assert text.isascii()
        assert not set(text) & set("/\\~:%?# \n")
        assert not text.startswith(".")


def state(**fields: Any) -> BrowserState:
    return BrowserState.model_validate({**STATE, **fields})


def test_a_state_is_kept_as_the_contract_has_it():
    assert json.loads(state().to_json()) == STATE
    assert state().to_json().isascii()


def test_playwright_s_storage_state_is_one_without_what_browsers_add():
    given = deepcopy(STATE)
    del given["sessionStorage"]
    given["cookies"][0] |= {"partitionKey": "https://top.example", "size": 7, "expires": -1}
    given["origins"][0] |= {"indexedDB": [], "opfs": []}
    kept = json.loads(BrowserState.model_validate({**given, "credentials": []}).to_json())
    assert kept["cookies"] == [{**COOKIE, "expires": -1}]
    assert kept["origins"] == STATE["origins"]
    assert kept["sessionStorage"] is None
    assert set(kept) == {"cookies", "origins", "sessionStorage"}


@pytest.mark.parametrize("expires", [-1, 0, 1.5, 253_402_300_799])
def test_every_time_that_a_browser_takes_is_taken(expires: float):
    assert state(cookies=[{**COOKIE, "expires": expires}]).cookies[0].expires == expires


def cookie(**fields: Any) -> dict[str, Any]:
    return {"cookies": [COOKIE, {**COOKIE, **fields}]}


def without(field: str) -> dict[str, Any]:
    return {"cookies": [{name: value for name, value in COOKIE.items() if name != field}]}


@pytest.mark.parametrize(
    ("change", "path"),
    [
        *((without(field), f"cookies[0].{field}") for field in COOKIE),
        (cookie(name=None), "cookies[1].name"),
        (cookie(name="a\nb"), "cookies[1].name"),
        (cookie(value=[SECRET]), "cookies[1].value"),
        (cookie(value=f"{SECRET}\x00"), "cookies[1].value"),
        (cookie(domain=""), "cookies[1].domain"),
        (cookie(domain=f"https://{SECRET}"), "cookies[1].domain"),
        (cookie(path="app"), "cookies[1].path"),
        (cookie(expires=-2), "cookies[1].expires"),
        (cookie(expires="1900000000"), "cookies[1].expires"),
        (cookie(expires=True), "cookies[1].expires"),
        (cookie(expires=1_900_000_000_000), "cookies[1].expires"),
        (cookie(httpOnly=1), "cookies[1].httpOnly"),
        (cookie(sameSite="lax"), "cookies[1].sameSite"),
        ({"cookies": None}, "cookies"),
        ({"cookies": {}}, "cookies"),
        ({"cookies": [SECRET]}, "cookies[0]"),
        ({"origins": [{"origin": "https://shop.example"}]}, "origins[0].localStorage"),
        ({"origins": [{"origin": "https://shop.example/", "localStorage": []}]}, "origins[0].origin"),
        ({"origins": [{"origin": "https://shop.example:443", "localStorage": []}]}, "origins[0].origin"),
        ({"origins": [{"origin": "https://Shop.example", "localStorage": []}]}, "origins[0].origin"),
        ({"origins": [{"origin": "https://a:b@shop.example", "localStorage": []}]}, "origins[0].origin"),
        ({"origins": [{"origin": "https://[shop", "localStorage": []}]}, "origins[0].origin"),
        ({"origins": [{"origin": "file://", "localStorage": []}]}, "origins[0].origin"),
        ({"origins": [{"origin": "null", "localStorage": []}]}, "origins[0].origin"),
        ({"origins": [{**STATE["origins"][0], "indexedDB": [{"name": SECRET}]}]}, "origins[0].indexedDB"),
        ({"origins": [{**STATE["origins"][0], "opfs": [{"path": SECRET}]}]}, "origins[0].opfs"),
        ({"origins": [{"origin": "http://x", "localStorage": [{"name": "a"}]}]}, "origins[0].localStorage[0].value"),
        ({"origins": [{"origin": "http://x", "localStorage": {"a": "b"}}]}, "origins[0].localStorage"),
        ({"sessionStorage": [{"origin": "http://x", "localStorage": []}]}, "sessionStorage[0].sessionStorage"),
        ({"sessionStorage": {}}, "sessionStorage"),
        ({"credentials": [{"privateKey": SECRET}]}, "credentials"),
        ({"localStorage": []}, "localStorage"),
    ],
)
def test_what_is_no_state_is_refused_with_its_path_and_no_value(change: dict[str, Any], path: str):
    assert path_of(BrowserState, {**STATE, **change}) == path
    assert path_of(ImportAuthSession, {"state": {**STATE, **change}}) == f"state.{path}"


@pytest.mark.parametrize(
    "origin", ["https://shop.example", "http://localhost:8080", "http://[::1]:81", "http://10.0.0.1"]
)
def test_origins_are_taken_as_browsers_write_them(origin: str):
    assert state(origins=[{"origin": origin, "localStorage": []}]).origins[0].origin == origin


def test_no_request_prints_its_secrets():
    proxy = f"http://u:{SECRET}@h"
    for request in (
        CreateAuthSession.model_validate({"parameters": {"password": SECRET}, "proxy": proxy}),
        ValidateAuthSession.model_validate({"proxy": proxy}),
        ImportAuthSession.model_validate({"state": STATE}),
        state().cookies[0],
        state().origins[0],
    ):
        assert SECRET not in repr(request)
        assert SECRET not in str(request)
