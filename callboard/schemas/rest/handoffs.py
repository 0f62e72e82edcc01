"""Handoffs: what is asked, and what a person answers (docs/contract.md, section 22)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, FailFast, Field, JsonValue

from callboard.schemas.rest.base import QueryModel, RequestModel, ResponseModel, expected_error, expects
from callboard.schemas.workflow import names
from callboard.schemas.workflow.handoff import Handoff, HandoffKind, HandoffStatus

VALUE_LIMIT = 4096
"""Most characters of a value."""
REASON_LIMIT = 500
"""Most characters of a reason."""


def check_text(text: str) -> str:
    """Return a text that can be stored and shown. Raises PydanticCustomError."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise expected_error("a text without half a surrogate pair") from None
    if "\0" in text:
        raise expected_error("a text without the character NUL")
    return text


_Value = Annotated[
    str,
    Field(max_length=VALUE_LIMIT),
    AfterValidator(check_text),
    expects(f"a text of at most {VALUE_LIMIT} characters"),
]


class CompleteHandoff(RequestModel):
    """The answer to a Handoff: a value for each of its fields, so none for one of kind `browser`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"values": {"code": "493027"}}, {}]})

    values: Annotated[dict[str, _Value], FailFast()] = Field(default={}, repr=False)


class DeclineHandoff(RequestModel):
    """Why nobody answers."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "That is not my phone."}]})

    reason: (
        Annotated[
            str,
            Field(max_length=REASON_LIMIT),
            AfterValidator(check_text),
            expects(f"a text of at most {REASON_LIMIT} characters"),
        ]
        | None
    ) = None


class HandoffsQuery(QueryModel):
    """Which Handoffs of a project are listed."""

    status: Annotated[Literal["open"], expects("open, as the others are listed with their Runs")] = "open"


_OPEN: dict[str, JsonValue] = {
    "id": "V1StGXR8_Z5jdHi6B-myT.1.1",
    "kind": "input",
    "instructions": "The code that was sent to the phone that ends in 42",
    "expiresAt": "2026-12-01T10:05:00Z",
}


class OpenHandoff(ResponseModel):
    """A Handoff that waits for a person, in short."""

    model_config = ConfigDict(json_schema_extra={"examples": [_OPEN]})

    id: str
    kind: HandoffKind
    instructions: str
    expires_at: datetime

    @classmethod
    def of(cls, handoff: Handoff | None) -> Self | None:
        """Return what is told of a Handoff; None if there is none."""
        if handoff is None:
            return None
        return cls(id=handoff.id, kind=handoff.kind, instructions=handoff.instructions, expires_at=handoff.expires_at)


class HandoffFieldBody(ResponseModel):
    """A value that is asked for."""

    name: str
    pattern: str | None
    """A regular expression that matches the whole value; null for any value."""
    secret: bool
    """Whether the value is masked in what the Attempt leaves."""


class HandoffBody(ResponseModel):
    """A Handoff: an Attempt asks a person."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **_OPEN,
                    "runId": "V1StGXR8_Z5jdHi6B-myT",
                    "attempt": 1,
                    "fields": [{"name": "code", "pattern": "\\d{6}", "secret": True}],
                    "status": "open",
                    "createdAt": "2026-12-01T10:00:00Z",
                }
            ]
        }
    )

    id: str
    run_id: str
    """The Run whose Attempt asks: another one than that of the path, if this one waits for that check or Create."""
    kind: HandoffKind
    attempt: int
    """The number of the Attempt."""
    instructions: str
    fields: list[HandoffFieldBody]
    status: HandoffStatus
    created_at: datetime
    expires_at: datetime

    @classmethod
    def of(cls, handoff: Handoff) -> Self:
        """Return what is told of a Handoff."""
        return cls(
            id=handoff.id,
            run_id=names.run_of_handoff(handoff.id),
            kind=handoff.kind,
            attempt=handoff.attempt,
            instructions=handoff.instructions,
            fields=[HandoffFieldBody(**each.model_dump()) for each in handoff.fields],
            status=handoff.status,
            created_at=handoff.created_at,
            expires_at=handoff.expires_at,
        )


class HandoffLink(ResponseModel):
    """A link with which a person answers a Handoff without a key."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"url": "https://callboard.example.com/answer#cb1.…", "expiresAt": "2026-12-01T10:05:00Z"}]
        }
    )

    url: str
    """Its part behind the `#` is secret, and reaches no server before the person opens the question."""
    expires_at: datetime


class HandoffList(ResponseModel):
    """Handoffs, the oldest first."""

    handoffs: list[HandoffBody]
