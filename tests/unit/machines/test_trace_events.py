"""Which cookies a record of the network shows to be secret."""

from __future__ import annotations

import json

from callboard.machines.trace_redaction import secrets_of_network


def line(sent: str = "", *set_: str, **headers: str) -> bytes:
    asked = [{"name": name, "value": value} for name, value in {"Cookie": sent, **headers}.items() if value]
    answered = [{"name": "set-cookie", "value": "\n".join(set_)}] if set_ else []
    return json.dumps({"snapshot": {"request": {"headers": asked}, "response": {"headers": answered}}}).encode()


def test_what_a_redirect_has_set_shows_only_when_it_is_sent() -> None:
    lines = [
        line(),
        line("form=f0rm-token; session=s3ssion-1"),
        line("session=s3ssion-1", "session=s3ssion-2; HttpOnly"),
    ]
    assert set(secrets_of_network(lines, cookies=True)) == {"f0rm-token", "s3ssion-1", "s3ssion-2"}
    assert set(secrets_of_network(lines, cookies=False)) == set()


def test_a_cookie_that_scripts_may_read_is_none() -> None:
    lines = [line("", "language=english; Path=/", 'session="s3ssion-1"; Path=/; httponly'), line("language=english")]
    assert set(secrets_of_network(lines, cookies=True)) == {"s3ssion-1"}


def test_credentials_are_secret_with_and_without_a_login() -> None:
    lines = [line(Authorization="Bearer t0ken-1"), b"not json", b"{}"]
    assert set(secrets_of_network(lines, cookies=False)) == {"t0ken-1"}
