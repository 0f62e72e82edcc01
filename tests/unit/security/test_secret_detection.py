"""Which values of an AuthSession are secrets."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.security.secret_detection import find_secrets_in_parameters, find_secrets_in_state, is_secret_name

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"


@pytest.mark.parametrize(
    "name",
    [
        *("password", "Password", "userPassword", "PASSWORD2", "passwd", "pass", "pwd", "passphrase", "client_secret"),
        *("token", "accessToken", "refresh-token", "id_token", "apikey", "api_key", "apiKey", "API_KEY", "X-Api-Key"),
        *("key", "keys", "otp", "totpSeed", "pin", "PIN", "userPIN", "code", "codes", "one-time-code", "mfaCode"),
        *("credentials", "authorization", "sid", "session_id", "csrf"),
    ],
)
def test_names_that_tell_a_secret(name: str):
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "user",
        "username",
        "email",
        "keyword",
        "monkey",
        "pinned",
        "encoder",
        "passenger",
        "compass",
        "author",
        "url",
        "",
    ],
)
def test_names_that_do_not(name: str):
    assert not is_secret_name(name)


def test_everything_below_such_a_name_is_a_secret_of_the_parameters():
    parameters = {
        "user": "bob-the-user",
        "password": "password-1",
        "pin": 12345678,
        "short": {"pin": 123, "token": "12345"},
        "accounts": [
            {"name": "some-name", "apiKey": "nested-key", "secret": {"parts": ["part-one", "part-two", True]}}
        ],
        "Mother's maiden name": "listed-1",
        "second": {"favourite_colour": "listed-2"},
    }
    assert find_secrets_in_parameters(parameters, ()) == {
        "password-1",
        "12345678",
        "nested-key",
        "part-one",
        "part-two",
    }
    also = ("mother's maiden name", "favouriteColour")
    assert find_secrets_in_parameters(parameters, also) - find_secrets_in_parameters(parameters, ()) == {
        "listed-1",
        "listed-2",
    }


def cookie(name: str, value: str, *, http_only: bool = False) -> dict[str, Any]:
    return {"name": name, "value": value, "domain": "shop.test", "path": "/", "httpOnly": http_only}


def storage(**items: str) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in items.items()]


def test_secrets_of_a_state_are_httponly_cookies_and_what_looks_secret():
    stored = {
        "user": {"name": "bob-the-user", "stsTokenManager": {"accessToken": "access-1", "lives": 3600000}},
        "id": JWT,
    }
    state = {
        "cookies": [
            cookie("anything", "http-only-value", http_only=True),
            cookie("short", "12345", http_only=True),
            cookie("theme", "dark-mode"),
            cookie("csrftoken", "named-value"),
            cookie("seen", JWT),
        ],
        "origins": [
            {
                "origin": "https://shop.test",
                "localStorage": storage(
                    header="Bearer bearer-value",
                    view="all items of the shop",
                    home="https://shop.test/home/of/the/user/12345",
                    firebase=json.dumps(stored),
                    redux=json.dumps(
                        {"auth": json.dumps({"sub": "in-two-layers"}), "page": json.dumps({"n": "plain-text"})}
                    ),
                ),
            }
        ],
        "sessionStorage": [{"origin": "https://shop.test", "sessionStorage": storage(sessionKey="of-the-tab")}],
    }
    assert find_secrets_in_state(state) == {
        *("http-only-value", "named-value", JWT, "bearer-value", "access-1", "3600000", "in-two-layers", "of-the-tab"),
    }


def test_records_of_databases_are_read_as_they_are_and_as_playwright_encodes_them() -> None:
    plain = {"key": "user", "value": {"uid": "user-1", "tokens": {"accessToken": "access-1"}}}
    pairs = {
        "m": [{"k": "apiKey", "v": "key-in-a-map"}, {"k": "list", "v": {"a": [JWT, {"d": "2026"}], "id": 2}}],
        "id": 1,
    }
    encoded = {"valueEncoded": {"o": [{"k": "refreshToken", "v": "refresh-1"}, {"k": "map", "v": pairs}], "id": 3}}
    named = {"key": "csrf-token", "value": "of-its-key"}
    databases = [{"stores": [{"records": [plain, encoded, named, {"valueEncoded": "x"}, {"valueEncoded": {"o": 1}}]}]}]
    state = {"origins": [{"indexedDB": databases}]}
    assert find_secrets_in_state(state) == {"access-1", "refresh-1", "key-in-a-map", JWT, "of-its-key"}


def test_what_is_nested_too_deep_is_one_secret() -> None:
    text = f"{'[' * 2000}1{']' * 2000}"
    assert find_secrets_in_state({"sessionStorage": [{"sessionStorage": [{"name": "token", "value": text}]}]}) == {text}
    databases = [{"stores": [{"records": [{"key": 1, "value": {"token": text}}]}]}]
    assert find_secrets_in_state({"origins": [{"indexedDB": databases}]}) == {text}


_NAMES = ["name", "value", "localStorage", "sessionStorage", "indexedDB", "stores", "records", "valueEncoded", "o", "m"]


@given(
    state=st.dictionaries(
        st.sampled_from(["cookies", "origins", "sessionStorage"]),
        st.recursive(
            st.none() | st.text() | st.integers(),
            lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(_NAMES), inner),
        ),
    )
)
def test_what_is_no_state_is_searched_without_an_error(state: dict[str, Any]):
    assert all(len(secret) >= 6 for secret in find_secrets_in_state(state))
