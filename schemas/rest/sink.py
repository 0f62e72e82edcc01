"""`sink` of a start: where the result is delivered (docs/contract.md, section 11)."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, cast
from urllib.parse import urlsplit

from pydantic import AfterValidator, Discriminator, Field, Tag

from schemas.rest.base import ApiName, Flag, RequestModel, checked, expects, problem

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")
_HEADER_VALUE = re.compile(r"(?:[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?)?")
_CONTROL = re.compile(r"[\x00-\x20\x7f\\]")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")

_HTTP_URL = "an http or https URL with a host, at most 2048 characters"
_ENDPOINT = "an http or https URL with a host and no query, at most 2048 characters"
_HEADERS = (
    "an object of header names, each once in whatever case, to texts of printable ASCII without blanks around them, "
    "at most 16 kB in all"
)
_PREFIX = "a text of at most 800 bytes, without control characters and without . or .. between its slashes"

_OWN_HEADERS = frozenset(
    {
        *("host", "content-type", "content-length", "content-encoding", "transfer-encoding"),
        *("connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade", "expect"),
    }
)
_OWN_PREFIX = "webhook-"
"""Headers that a delivery is made of: what says who sent it, and how it is to be read."""


def _webhook_url(url: str) -> None:
    _http_url(url)
    if "@" in urlsplit(url).netloc:
        raise problem(f"{_HTTP_URL}, and without user and password: send them as a header")


def _http_url(url: str) -> None:
    parts = urlsplit(url)
    if _CONTROL.search(url) or parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError("not an http or https URL with a host")


def _endpoint(url: str) -> None:
    _http_url(url)
    if "?" in url or "#" in url:
        raise ValueError("more than an address")
    if "@" in urlsplit(url).netloc:
        raise problem(f"{_ENDPOINT}, and without user and password: those are accessKeyId and secretAccessKey")


def _headers(headers: dict[str, str]) -> dict[str, str]:
    names = {name.lower() for name in headers}
    if len(names) < len(headers):
        raise ValueError("a name that stands twice")
    if not all(_HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value) for name, value in headers.items()):
        raise ValueError("not a header")
    if sum(len(name) + len(value) for name, value in headers.items()) > _HEADERS_LIMIT:
        raise ValueError("more than a request may have")
    for name in sorted(names):
        as_read = name.replace("_", "-")  # by receivers that hear of headers in the way of CGI
        if as_read in _OWN_HEADERS or as_read.startswith(_OWN_PREFIX):
            raise problem(f"headers without {name}, which Callboard sets itself")
    return headers


def _prefix(prefix: str) -> None:
    parts = prefix.split("/")
    if len(prefix.encode()) > _PREFIX_BYTES or _UNPRINTABLE.search(prefix) or "." in parts or ".." in parts:
        raise ValueError("not the beginning of a key")


_HEADERS_LIMIT = 16_000

_PREFIX_BYTES = 800
"""A key may have 1024, with the id of a Run in them."""

HttpUrl = Annotated[str, Field(max_length=2048), AfterValidator(checked(_webhook_url)), expects(_HTTP_URL)]
_Endpoint = Annotated[str, Field(max_length=2048), AfterValidator(checked(_endpoint)), expects(_ENDPOINT)]
_Apis = Annotated[list[ApiName], Field(max_length=500), expects("an array of at most 500 names of APIs")]
_Headers = Annotated[dict[str, str], AfterValidator(_headers), expects(_HEADERS)]
_Prefix = Annotated[str, AfterValidator(checked(_prefix)), expects(_PREFIX)]
_Key = Annotated[
    str,
    Field(pattern=r"^[\x21-\x7e]{1,2048}$"),
    expects("a text of 1 to 2048 characters, without blanks and all of ASCII"),
]
_Region = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,62}$"),
    expects("the name of a region, such as eu-central-1"),
]
_Bucket = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$"),
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
    access_key_id: _Key = Field(repr=False)
    secret_access_key: _Key = Field(repr=False)
    prefix: _Prefix = ""
    """Stands before the name of each object, with one slash between."""
    endpoint: _Endpoint | None = None
    """Of whatever speaks S3. Absent: AWS."""
    force_path_style: Flag = False
    """The bucket is part of the path, and not of the host."""


class S3Sink(_S3):
    """The result becomes one `.json` object in a bucket."""

    region: _Region


class ProjectS3Sink(_S3):
    """The same in the settings of a project, where the region may be left out."""

    region: _Region | None = None


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
