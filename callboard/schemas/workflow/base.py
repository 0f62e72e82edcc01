"""What all models in Temporal histories share, and how large JSON documents are passed on."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict

_BEGINNING = 160
INLINE_LIMIT = 32_000
"""How many bytes of JSON text may be inlined into a Temporal history; anything larger is an artifact and a
reference."""

HISTORY_BUDGET = 256_000
"""How many bytes of a history the parameters of a Run may take in all; the input of each Attempt holds them."""

MESSAGE_LIMIT = 4_000
"""How many characters of an error message are kept in Temporal."""

HEADLINE_LIMIT = 300
"""How many characters of it stand in lists, and above an outcome that has all of it."""

STACK_LIMIT = 16_000
"""How many characters of a stack trace are kept in Temporal."""


class FlowModel(BaseModel):
    """Base class of the frozen models in Temporal histories.

    Unknown fields are ignored, so that an older worker can read what a newer one wrote.
    """

    # Some have secrets, and errors are kept and shown.
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class OpenStrEnum(StrEnum):
    """An enum of words to which later versions of Callboard may add further ones.

    While workers and apis are upgraded, older ones read what newer ones wrote. A word that a version does not know
    becomes a member of its own, which equals none of the known ones, and is written and shown unchanged.
    """

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        word = str.__new__(cls, value)
        word._name_ = word._value_ = value
        return word

    @property
    def is_known(self) -> bool:
        """Whether this version knows the word."""
        return type(self).__members__.get(self.name) is self


class JsonRef(FlowModel):
    """One JSON document as ASCII-escaped text: either here (`text`), or in the artifact store (`key`).

    Text and not a parsed value, so that what user code returned reaches the client byte for byte, also where
    it holds what JSON parsers disagree on (lone surrogates, integers beyond 64 bits).
    """

    text: str | None = None
    key: str | None = None
    size: int
    """Size of the text in bytes."""

    @property
    def beginning(self) -> str:
        """The first characters of the text, for lists; none if it is in the store."""
        return (self.text or "")[:_BEGINNING]


def clip(text: str, limit: int) -> str:
    """Shorten `text` to at most `limit` characters; the gap in the middle says how many were cut."""
    if len(text) <= limit:
        return text
    gap = f" … [{len(text) - limit} characters cut] … "
    head = (limit - len(gap)) * 2 // 3
    return text[:head] + gap + text[len(text) - (limit - len(gap) - head) :]
