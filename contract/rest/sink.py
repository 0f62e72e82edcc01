"""`sink` of a start: where the result is delivered (contract section 11)."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, cast
from urllib.parse import urlsplit

from pydantic import AfterValidator, Discriminator, Field, Tag

from contract.rest.base import AnyText, ApiName, Flag, RequestModel, Text, checked, expects

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")
_HEADER_VALUE = re.compile(r"(?:[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?)?")
_CONTROL = re.compile(r"[\x00-\x20\x7f\\]")

_HTTP_URL = "an http or https URL with a host, at most 2048 characters"
_HEADERS = "an object of header names to texts, without line breaks"


def _http_url(url: str) -> None:
    parts = urlsplit(url)
    if _CONTROL.search(url) or parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError("not an http or https URL with a host")


def _headers(headers: dict[str, str]) -> dict[str, str]:
    names = {name.lower() for name in headers}
    if len(names) < len(headers):
        raise ValueError("a name that stands twice")
    if not all(_HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value) for name, value in headers.items()):
        raise ValueError("not a header")
    return headers


HttpUrl = Annotated[str, Field(max_length=2048), AfterValidator(checked(_http_url)), expects(_HTTP_URL)]
_Apis = Annotated[list[ApiName], expects("an array of names of APIs")]
_Headers = Annotated[dict[str, str], AfterValidator(_headers), expects(_HEADERS)]
_Bucket = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9._-]{1,255}$"),
    expects("the name of a bucket"),
]


NO_SUCH_KIND = "no_such_kind"
"""Type of the error about `type`; pydantic's own would repeat what was given."""


class _Sink(RequestModel):
    skip_on_fail: Flag = False
    """Failed Runs are not delivered."""
    apis_to_send: _Apis | None = None
    """Absent: all."""


class WebhookSink(_Sink):
    """The result is POSTed as JSON to `url`."""

    type: Literal["webhook"]
    url: HttpUrl = Field(repr=False)
    headers: _Headers = Field(default_factory=dict[str, str], repr=False)


class _S3(_Sink):
    type: Literal["s3"]
    bucket: _Bucket
    access_key_id: Text = Field(repr=False)
    secret_access_key: Text = Field(repr=False)
    prefix: AnyText = ""
    endpoint: HttpUrl | None = None
    force_path_style: Flag = False


class S3Sink(_S3):
    """The result becomes one `.json` object in a bucket."""

    region: Text


class ProjectS3Sink(_S3):
    """The same in the settings of a project, where the region may be left out."""

    region: Text | None = None


def _kind(value: Any) -> str | None:
    if isinstance(value, WebhookSink | _S3):  # pydantic asks for the kind when it serializes, too
        return value.type
    if not isinstance(value, dict):
        return "webhook"  # whose error says that an object is expected
    kind = cast("dict[str, Any]", value).get("type")
    return kind if isinstance(kind, str) else None


Sink = Annotated[
    Annotated[WebhookSink, Tag("webhook")] | Annotated[S3Sink, Tag("s3")],
    Discriminator(_kind, custom_error_type=NO_SUCH_KIND, custom_error_message="expected another type"),
]

ProjectSink = Annotated[
    Annotated[WebhookSink, Tag("webhook")] | Annotated[ProjectS3Sink, Tag("s3")],
    Discriminator(_kind, custom_error_type=NO_SUCH_KIND, custom_error_message="expected another type"),
]
"""`defaults.sink.dev` and `.deployed` of a project's settings."""
