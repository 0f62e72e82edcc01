"""Codes that were received for a project: what is pushed (docs/contract.md, section 22.1)."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field

from callboard.schemas.rest.base import RequestModel, expected_error, expects
from callboard.schemas.rest.handoffs import check_text

CONTENT_LIMIT = 16_384
"""Most characters of what has come."""
ADDRESSEE_LIMIT = 320
"""Most characters of to whom it came: those of a mail address."""


def _check_addressee(text: str) -> str:
    if not text.strip():
        raise expected_error("to whom it came, such as a phone number or a mail address")
    return check_text(text)


class PushCode(RequestModel):
    """A code, or a whole message with one, as a gateway of SMS or mail has received it."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"to": "+4915112345678", "content": "493027 is your code for the shop."}]}
    )

    to: Annotated[
        str,
        Field(max_length=ADDRESSEE_LIMIT),
        AfterValidator(_check_addressee),
        expects(f"a text of at most {ADDRESSEE_LIMIT} characters"),
    ] = Field(repr=False)
    """To whom it came, as `code_to` of `request_input` names it. Upper or lower case makes no difference."""
    content: Annotated[
        str,
        Field(min_length=1, max_length=CONTENT_LIMIT),
        AfterValidator(check_text),
        expects(f"a text of 1 to {CONTENT_LIMIT} characters"),
    ] = Field(repr=False)
