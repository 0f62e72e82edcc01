"""Detect secrets among an AuthSession's parameters and browser state (docs/contract.md, section 12.6).

A secret is detected by its name (`password`, `apiKey`, `one-time-code`) and, in a state, by what its value looks like.
Detecting one too many is preferred: what is found here is masked in logs, traces and errors, and nowhere else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import Any, cast

from callboard.security.masking import MIN_MASKED_LENGTH

_NAME_WORDS = frozenset(
    {
        *("pass", "pw", "pwd", "pin", "otp", "totp", "mfa", "code", "key", "auth", "authorization", "bearer", "jwt"),
        *("sid", "session", "csrf", "xsrf", "signature", "sig", "seed", "mnemonic", "cvv", "cvc", "ssn", "answer"),
    }
)
"""Words that mark a name as that of a secret, also in the plural."""
_NAME_PARTS = ("passw", "passphrase", "passcode", "passkey", "secret", "token", "credential", "apikey", "privatekey")
"""Parts that mark a name as that of a secret wherever they occur in it, also without word boundaries."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_BEARER = re.compile(r"bearer\s+(\S+)", re.IGNORECASE)
_TOKEN = re.compile(r"[A-Za-z0-9+/=_.~:%|-]{20,}")
"""Pattern of a token: letters, digits and what encodings add. Nothing that people write is that long without a
blank."""
_ADDRESS = re.compile(r"[a-z]+://", re.IGNORECASE)


def find_secrets_in_parameters(parameters: dict[str, Any], extra_names: Collection[str]) -> set[str]:
    """Return the values below every key that names a secret, or that is in `extra_names`, at any depth."""
    listed = {_normalize_name(name) for name in extra_names}

    def below(value: Any, *, secret: bool) -> Iterator[str]:
        match value:
            case dict():
                for name, item in cast("dict[str, Any]", value).items():
                    yield from below(item, secret=secret or is_secret_name(name) or _normalize_name(name) in listed)
            case list():
                for item in cast("list[Any]", value):
                    yield from below(item, secret=secret)
            case _ if secret:
                yield _scalar_text(value)
            case _:
                pass

    return _drop_short(below(parameters, secret=False))


def find_secrets_in_state(state: dict[str, Any]) -> set[str]:
    """Return all httpOnly cookies, and of the rest what is named like a secret or looks like a token."""
    found: set[str] = set()
    for cookie in _list_of_objects(state, "cookies"):
        found.update(_item_secrets(cookie))
        if cookie.get("httpOnly") is True:
            found.add(_scalar_text(cookie.get("value")))
    for place, storage in (("origins", "localStorage"), ("sessionStorage", "sessionStorage")):
        for origin in _list_of_objects(state, place):
            for item in _list_of_objects(origin, storage):
                found.update(_item_secrets(item))
    for origin in _list_of_objects(state, "origins"):
        for database in _list_of_objects(origin, "indexedDB"):
            for store in _list_of_objects(database, "stores"):
                for record in _list_of_objects(store, "records"):
                    found.update(_record_secrets(record))
    return _drop_short(found)


def is_secret_name(name: str) -> bool:
    """Tell whether a key of this name holds a secret: `userPassword`, `API_KEY` and `pin` do, `keyword` does not."""
    if any(part in _normalize_name(name) for part in _NAME_PARTS):
        return True
    words = {word.lower() for word in _WORD.findall(name)}
    return not _NAME_WORDS.isdisjoint(words | {word.removesuffix("s") for word in words})


def _normalize_name(name: str) -> str:
    """Return a name for comparison: `api_key`, `apiKey` and `API-Key` are the same."""
    return re.sub(r"[\W_]", "", name).lower()


def _item_secrets(item: dict[str, Any]) -> Iterator[str]:
    """Return the secrets in one cookie or storage item."""
    return _value_secrets(item.get("value"), secret=is_secret_name(str(item.get("name"))))


def _record_secrets(record: dict[str, Any]) -> Iterator[str]:
    """Yield the secrets in one record of a database, with its key as its name."""
    value = _decode(record["valueEncoded"]) if "valueEncoded" in record else record.get("value")
    yield from _value_secrets(value, secret=is_secret_name(str(record.get("key"))))


def _decode(value: Any) -> Any:
    """Decode a value that Playwright has encoded; only texts, numbers, lists and objects are kept."""
    if not isinstance(value, dict):
        return value
    encoded = cast("dict[str, Any]", value)
    for members in ("o", "m"):
        if members in encoded:
            pairs = _list_of_objects(encoded, members)
            return {str(_decode(each.get("k"))): _decode(each.get("v")) for each in pairs}
    items: Any = encoded.get("a", encoded.get("s"))
    return [_decode(item) for item in cast("list[Any]", items)] if isinstance(items, list) else None


def _value_secrets(value: Any, *, secret: bool) -> Iterator[str]:
    match value:
        case dict():
            for name, item in cast("dict[str, Any]", value).items():
                yield from _value_secrets(item, secret=secret or is_secret_name(name))
        case list():
            for item in cast("list[Any]", value):
                yield from _value_secrets(item, secret=secret)
        case str() if (holds := _parse_container(value)) is not None:
            # Libraries store whole objects as text, with tokens among much else: only the tokens are secret.
            try:
                yield from _value_secrets(holds, secret=secret)
            except RecursionError:  # a site may nest its JSON as deep as it likes
                yield value
        case str() if (bearer := _BEARER.fullmatch(value)) is not None:
            yield bearer[1]
        case _ if secret or (isinstance(value, str) and looks_like_token(value)):
            yield _scalar_text(value)
        case _:
            pass


def looks_like_token(value: str) -> bool:
    """Tell whether a value looks like a token: long, of letters and digits, without a blank."""
    if not _TOKEN.fullmatch(value) or _ADDRESS.match(value):
        return False
    return any(character.isdigit() for character in value) and any(character.isalpha() for character in value)


def _parse_container(value: str) -> Any:
    """Return the object or array that `value` is the JSON text of, or None."""
    if value[:1] not in ("{", "["):
        return None
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def _scalar_text(value: Any) -> str:
    """Return a value as a text would show it; empty for a value that cannot be a secret."""
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def _drop_short(found: Collection[str] | Iterator[str]) -> set[str]:
    return {secret for secret in found if len(secret) >= MIN_MASKED_LENGTH}


def _list_of_objects(holder: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the objects in the list `name`. A value of another shape holds nothing that could be found."""
    entries: Any = holder.get(name)
    if not isinstance(entries, list):
        return []
    return [cast("dict[str, Any]", entry) for entry in cast("list[Any]", entries) if isinstance(entry, dict)]
