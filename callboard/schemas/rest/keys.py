"""API keys: what is asked for, and what is answered (docs/contract.md, section 5.4)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AwareDatetime, BeforeValidator, ConfigDict, FailFast, Field, JsonValue

from callboard.schemas.rest.access import KeyRef, Scope
from callboard.schemas.rest.base import RequestModel, ResponseModel, expects

KEY_NAME_RULE = "1 to 64 letters, digits and . _ - with a letter or digit first"
SCOPES = ", ".join(Scope)
_MAX_PROJECTS = 200


def _read_time(value: object) -> datetime:
    # pydantic would take a number for seconds since 1970.
    if not isinstance(value, str):
        raise ValueError("not a text")  # noqa: TRY004 - pydantic takes no other one for a wrong value
    at = datetime.fromisoformat(value)
    if at.tzinfo is None or at <= datetime.now(UTC):
        raise ValueError("without a zone, or past")
    return at.astimezone(UTC)


KeyName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"), expects(f"a name of {KEY_NAME_RULE}")]
_Scope = Annotated[Scope, Field(strict=False), expects(f"one of {SCOPES}")]
_Time = Annotated[
    datetime,
    BeforeValidator(_read_time),
    expects("a time to come, with its zone, such as 2027-01-31T00:00:00Z"),
]


class CreateKey(RequestModel):
    """The body that makes a key. It must not allow more than the key that makes it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "nightly-import",
                    "scopes": ["runs:start", "runs:read"],
                    "projects": ["shop"],
                    "expiresAt": "2027-01-31T00:00:00Z",
                }
            ]
        }
    )

    name: KeyName
    """A name for people. Several keys may have the same one, as when one replaces another."""
    scopes: Annotated[
        list[_Scope], FailFast(), Field(min_length=1, max_length=20), expects("a list of scopes, with at least one")
    ]
    projects: (
        Annotated[
            list[Annotated[str, expects("the name of a project")]],
            FailFast(),
            Field(min_length=1, max_length=_MAX_PROJECTS),
            expects(f"a list of 1 to {_MAX_PROJECTS} names of projects"),
        ]
        | None
    ) = None
    """The projects that the key may see. They need not be deployed yet. Without them, all."""
    expires_at: _Time | None = None
    """The time at which the key ends. Without it, the key is good until it is revoked."""


_EXAMPLE: dict[str, JsonValue] = {
    "id": "4kTz0cQw9LmB",
    "prefix": "cb_4kTz0cQw9LmB",
    "name": "nightly-import",
    "scopes": ["runs:start", "runs:read"],
    "projects": ["shop"],
    "createdAt": "2026-11-24T10:00:00Z",
    "createdBy": {"id": "operator-3fa94c21", "name": "operator"},
    "expiresAt": "2027-01-31T00:00:00Z",
    "lastUsedAt": None,
}


class KeyBody(ResponseModel):
    """A key, without the key itself."""

    # While apis are upgraded, one reads what a newer one has stored.
    model_config = ConfigDict(extra="ignore", json_schema_extra={"examples": [_EXAMPLE]})

    id: str
    prefix: str
    """The beginning of the key, which is no secret."""
    name: str
    scopes: list[str]
    projects: list[str] | None
    """The projects that it may see; null for all."""
    created_at: AwareDatetime
    created_by: KeyRef
    """The key that was used to make it."""
    expires_at: AwareDatetime | None
    """When it ends, or has ended; null if it does not end."""
    last_used_at: datetime | None
    """When it was used last, to about a minute; null if it never was."""


class KeyCreated(KeyBody):
    """A new key. No other answer has the key itself."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**_EXAMPLE, "key": "cb_4kTz0cQw9LmB_" + 43 * "x"}]})

    key: str = Field(repr=False)
    """The key. It is not kept, so it cannot be shown again."""


class KeyList(ResponseModel):
    """The keys that do not allow more than the one that asks, the newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"keys": [_EXAMPLE]}]})

    keys: list[KeyBody]
