"""The bodies of the calls about AuthSessions: bounds, defaults, ids, and a browser's state in every detail."""

import json
import string
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from callboard.schemas.errors import BadRequest
from callboard.schemas.rest.auth_sessions import (
    CreateAuthSession,
    ImportAuthSession,
    UpdateAuthSession,
    ValidateAuthSession,
)
from callboard.schemas.rest.browser_state import BrowserState
from callboard.schemas.rest.field_errors import validation_error
from callboard.schemas.rest.run_auth_session import is_auth_session_id
from tests.support.present import assert_has

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


def test_the_defaults_are_those_of_the_contract():
    create, update = CreateAuthSession.model_validate({"parameters": {}}), UpdateAuthSession(parameters={})
    validate = ValidateAuthSession.model_validate({"proxy": None})
    for request in (create, update, validate):
        assert_has(request, create_attempts=3, check_attempts=3, proxy=None, request_timeout=600)
    assert (create.save_trace, update.save_trace, create.id, validate.auto_recreate) == (False, False, None, True)


NO_CREATE: dict[str, Any] = {
    "id": 7,
    "createAttempts": 0,
    "checkAttempts": 11,
    "requestTimeout": 43_201,
    "saveTrace": "no",
    "proxy": f"ftp://a:{SECRET}@h",
    "autoRecreate": True,
}


@pytest.mark.parametrize(
    ("model", "body", "path"),
    [
        (CreateAuthSession, {}, "parameters"),
        *((CreateAuthSession, {"parameters": parameters}, "parameters") for parameters in (None, [SECRET], SECRET)),
        *((CreateAuthSession, {"parameters": {}, field: value}, field) for field, value in NO_CREATE.items()),
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


LETTERS = string.ascii_letters + string.digits


@given(
    st.sampled_from(["", "ab", "0" * 201, "~abc", "abc\n"])
    | st.from_regex(r"[A-Za-z0-9._@+~/-]{0,210}", fullmatch=True)
    | st.text()
)
def test_an_id_is_3_to_200_characters_that_fit_a_path(text: str):
    fits = 3 <= len(text) <= 200 and text[0] in LETTERS and set(text) <= {*LETTERS, *"._@+-"}
    assert is_auth_session_id(text) is fits
    for model, fields in ((CreateAuthSession, {"parameters": {}}), (ImportAuthSession, {"state": STATE})):
        if fits:
            assert model.model_validate({**fields, "id": text}).id == text
        else:
            assert path_of(model, {**fields, "id": text}) == "id"


def state(**fields: Any) -> BrowserState:
    return BrowserState.model_validate({**STATE, **fields})


def test_a_state_is_kept_as_the_contract_has_it():
    assert json.loads(state().to_json()) == STATE
    assert state().to_json().isascii()
    for expires in (-1, 0, 1.5, 253_402_300_799):
        assert state(cookies=[{**COOKIE, "expires": expires}]).cookies[0].expires == expires
    for origin in ("https://shop.example", "http://localhost:8080", "http://[::1]:81", "http://10.0.0.1"):
        assert state(origins=[{"origin": origin, "localStorage": []}]).origins[0].origin == origin


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


def cookie(**fields: Any) -> dict[str, Any]:
    return {"cookies": [COOKIE, {**COOKIE, **fields}]}


NO_COOKIE: dict[str, list[Any]] = {
    "name": [None, "a\nb"],
    "value": [[SECRET], f"{SECRET}\x00"],
    "domain": ["", f"https://{SECRET}"],
    "path": ["app"],
    "expires": [-2, "1900000000", True, 1_900_000_000_000],
    "httpOnly": [1],
    "sameSite": ["lax"],
}
NO_ORIGINS = [
    *("https://shop.example/", "https://shop.example:443", "https://Shop.example", "https://a:b@shop.example"),
    *("https://[shop", "file://", "null"),
]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        *(
            ({"cookies": [{name: COOKIE[name] for name in COOKIE if name != left}]}, f"cookies[0].{left}")
            for left in COOKIE
        ),
        *((cookie(**{field: value}), f"cookies[1].{field}") for field, values in NO_COOKIE.items() for value in values),
        ({"cookies": None}, "cookies"),
        ({"cookies": {}}, "cookies"),
        ({"cookies": [SECRET]}, "cookies[0]"),
        ({"origins": [{"origin": "https://shop.example"}]}, "origins[0].localStorage"),
        *(({"origins": [{"origin": origin, "localStorage": []}]}, "origins[0].origin") for origin in NO_ORIGINS),
        ({"origins": [{**STATE["origins"][0], "indexedDB": [{"name": SECRET}]}]}, "origins[0].indexedDB[0].version"),
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
