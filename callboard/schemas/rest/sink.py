"""`sink` of a start: where the result is delivered (docs/contract.md, section 11)."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, cast
from urllib.parse import urlsplit

from pydantic import AfterValidator, Discriminator, FailFast, Field, Tag

from callboard.schemas.rest.base import ApiName, Flag, RequestModel, checked, expected_error, expects

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")
_HEADER_VALUE = re.compile(r"(?:[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?)?")
_CONTROL = re.compile(r"[\x00-\x20\x7f\\]")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")

HTTP_URL = "an http or https URL with a host, at most 2048 characters"
_ENDPOINT = "an http or https URL with a host and no query, at most 2048 characters"
_HEADERS = (
    "an object of header names, each once in whatever case, to texts of printable ASCII without blanks around them, "
    "at most 16 kB in all"
)
_PREFIX = "a text of at most 800 bytes, without control characters and without . or .. between its slashes"

_RESERVED_HEADERS = frozenset(
    {
        *("host", "content-type", "content-length", "content-encoding", "transfer-encoding"),
        *("connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade", "expect"),
    }
)
_RESERVED_PREFIX = "webhook-"
"""The prefix of the headers that Callboard sets itself, as it does those in `_RESERVED_HEADERS`."""


def _check_webhook_url(url: str) -> None:
    check_http_url(url)
    if "@" in urlsplit(url).netloc:
        raise expected_error(f"{HTTP_URL}, and without user and password: send them as a header")


def check_http_url(url: str) -> None:
    """Check that this is an http or https URL with a host. Raises ValueError if not."""
    parts = urlsplit(url)
    if _CONTROL.search(url) or parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError("not an http or https URL with a host")


def _check_endpoint(url: str) -> None:
    check_http_url(url)
    if "?" in url or "#" in url:
        raise ValueError("more than an address")
    if "@" in urlsplit(url).netloc:
        raise expected_error(f"{_ENDPOINT}, and without user and password: those are accessKeyId and secretAccessKey")


def _check_headers(headers: dict[str, str]) -> dict[str, str]:
    names = {name.lower() for name in headers}
    if len(names) < len(headers):
        raise ValueError("a name that stands twice")
    if not all(_HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value) for name, value in headers.items()):
        raise ValueError("not a header")
    if sum(len(name) + len(value) for name, value in headers.items()) > _HEADERS_LIMIT:
        raise ValueError("more than a request may have")
    for name in sorted(names):
        normalized = name.replace("_", "-")  # by receivers that hear of headers in the way of CGI
        if normalized in _RESERVED_HEADERS or normalized.startswith(_RESERVED_PREFIX):
            raise expected_error(f"headers without {name}, which Callboard sets itself")
    return headers


def _check_prefix(prefix: str) -> None:
    parts = prefix.split("/")
    if len(prefix.encode()) > _PREFIX_BYTES or _UNPRINTABLE.search(prefix) or "." in parts or ".." in parts:
        raise ValueError("not the beginning of a key")


_HEADERS_LIMIT = 16_000

_PREFIX_BYTES = 800
"""A key may have 1024, with the id of a Run in them."""

HttpUrl = Annotated[str, Field(max_length=2048), AfterValidator(checked(_check_webhook_url)), expects(HTTP_URL)]
_Endpoint = Annotated[str, Field(max_length=2048), AfterValidator(checked(_check_endpoint)), expects(_ENDPOINT)]
_Apis = Annotated[list[ApiName], FailFast(), Field(max_length=500), expects("an array of at most 500 names of APIs")]
Headers = Annotated[dict[str, str], FailFast(), AfterValidator(_check_headers), expects(_HEADERS)]
_Prefix = Annotated[str, AfterValidator(checked(_check_prefix)), expects(_PREFIX)]
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


UNKNOWN_SINK_TYPE = "no_such_kind"
"""Type of the error about `type`; pydantic's own would repeat what was given."""


class _Sink(RequestModel):
    skip_on_fail: Flag = False
    """Whether failed Runs are not delivered."""
    apis_to_send: _Apis | None = None
    """The names of the APIs whose results are delivered; if it is absent, those of all APIs."""


class Webhook(RequestModel):
    """A webhook: what it is told is sent to `url` by POST, as JSON."""

    type: Annotated[Literal["webhook"], expects('"webhook"')]
    url: HttpUrl = Field(repr=False)
    headers: Headers = Field(default_factory=dict[str, str], repr=False)


class WebhookSink(Webhook, _Sink):
    """A webhook that the result is sent to."""


class _S3(_Sink):
    type: Literal["s3"]
    bucket: _Bucket
    access_key_id: _Key = Field(repr=False)
    secret_access_key: _Key = Field(repr=False)
    prefix: _Prefix = ""
    """The prefix of the key of each object, followed by one slash."""
    endpoint: _Endpoint | None = None
    """The endpoint of an S3-compatible server; if it is absent, AWS."""
    force_path_style: Flag = False
    """Whether the bucket is part of the path instead of the host name."""


class S3Sink(_S3):
    """An S3 bucket: the result is stored as one `.json` object."""

    region: _Region


class ProjectS3Sink(_S3):
    """An S3 bucket in the settings of a project, where the region may be left out."""

    region: _Region | None = None


def _sink_type(value: Any) -> str | None:
    if isinstance(value, WebhookSink | _S3):  # pydantic asks for the kind when it serializes, too
        return value.type
    if not isinstance(value, dict):
        return "webhook"  # whose error says that an object is expected
    sink_type = cast("dict[str, Any]", value).get("type")
    return sink_type if isinstance(sink_type, str) else None


Sink = Annotated[
    Annotated[WebhookSink, Tag("webhook")] | Annotated[S3Sink, Tag("s3")],
    Discriminator(_sink_type, custom_error_type=UNKNOWN_SINK_TYPE, custom_error_message="expected another type"),
]

ProjectSink = Annotated[
    Annotated[WebhookSink, Tag("webhook")] | Annotated[ProjectS3Sink, Tag("s3")],
    Discriminator(_sink_type, custom_error_type=UNKNOWN_SINK_TYPE, custom_error_message="expected another type"),
]
"""`defaults.sink.dev` and `.deployed` of a project's settings."""


class SinkTestRequest(RequestModel):
    """A request to send a test to the sink that a start of this API would use."""

    api: ApiName
    sink: Sink | None = None
