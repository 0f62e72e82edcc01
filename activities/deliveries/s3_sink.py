"""Prepare requests to sinks of kind `s3`: one object for each Run, in a bucket of AWS or of another S3 service.

The request is built and signed here, and sent like every other: connections that boto3 opens itself could not be held
to the address that was checked. Nothing is taken from this host, neither credentials nor settings for AWS.
"""

from __future__ import annotations

import re
from functools import cache
from html import unescape
from typing import Any
from urllib.parse import quote

import httpx
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.loaders import Loader
from botocore.regions import EndpointResolver

from activities.deliveries.http_sender import PreparedRequest, ResponseVerdict, SinkResponse
from callboard.schemas.bucket_address import bucket_address
from callboard.schemas.workflow.delivery import DeliverInput, TryProblem
from callboard.schemas.workflow.sink import SealedBucket
from callboard.security import seal_context
from callboard.security.keyring import KeyRing

_CODE = re.compile(rb"<Code>\s*([A-Za-z0-9._-]{1,100})\s*</Code>")
_MESSAGE = re.compile(rb"<Message>([^<]*)</Message>")

_FINAL = frozenset(
    {
        *("AccessDenied", "AccountProblem", "AllAccessDisabled", "InvalidAccessKeyId", "InvalidToken", "ExpiredToken"),
        *("SignatureDoesNotMatch", "AuthorizationHeaderMalformed", "NotSignedUp", "InvalidPayer"),
        *("NoSuchBucket", "InvalidBucketName", "PermanentRedirect", "IllegalLocationConstraintException"),
        *("InvalidArgument", "InvalidRequest", "InvalidURI"),
        *("KeyTooLongError", "EntityTooLarge", "MethodNotAllowed", "KMS.DisabledException", "KMS.NotFoundException"),
    }
)
"""Error codes that will be the same at the next try: somebody must change keys, rights or the sink."""


def build_request(
    delivery: DeliverInput, sink: SealedBucket, body: bytes, *, keyring: KeyRing, user_agent: str
) -> PreparedRequest:
    """Return the request for one try, signed for this moment.

    Raises:
        ConfigurationError: There is no key to open with.
        SealError: What is sealed was changed.
    """
    bound_to = seal_context.run(delivery.workspace, delivery.project, delivery.run_id)
    keys = Credentials(
        keyring.open(sink.access_key_id, bound_to=bound_to), keyring.open(sink.secret_access_key, bound_to=bound_to)
    )
    unsigned = AWSRequest("PUT", object_url(sink, delivery.run_id), {"content-type": "application/json"}, data=body)
    S3SigV4Auth(keys, "s3", sink.region).add_auth(unsigned)
    signed = unsigned.prepare()
    headers = {
        "accept": "*/*",
        "accept-encoding": "identity",
        "connection": "close",
        "user-agent": user_agent,
        **{name: _text(value) for name, value in signed.headers.items()},
    }
    request = httpx.Request("PUT", signed.url, headers=headers, content=body)
    return PreparedRequest(request, classify_response, frozenset({keys.access_key, keys.secret_key}))


def object_url(sink: SealedBucket, run_id: str) -> str:
    """Return the URL of a Run's object: `{prefix}/{runId}.json` in the bucket, with one slash between."""
    prefix = sink.prefix.strip("/")
    key = quote(f"{prefix}/{run_id}.json" if prefix else f"{run_id}.json", safe="/~")
    endpoint = sink.endpoint or f"https://{_aws_host(sink.region)}"
    return f"{bucket_address(endpoint, sink.bucket, path_style=sink.force_path_style)}/{key}"


def classify_response(response: SinkResponse) -> ResponseVerdict:
    """Classify the answer; S3 reports errors with codes that are the same everywhere."""
    if 200 <= response.status < 300:
        return ResponseVerdict()
    error = _error(response)
    if error is None:
        return ResponseVerdict(f"The bucket's server answered {response.status}.")
    return ResponseVerdict(
        f"The bucket's server answered {response.status} {error.type}: {error.message}",
        problem=error,
        final=error.type in _FINAL,
    )


def _error(response: SinkResponse) -> TryProblem | None:
    """Return code and message of an S3 error; nothing else is read of its XML, which is not trusted."""
    code = _CODE.search(response.beginning)
    if code is None:
        return None
    message = _MESSAGE.search(response.beginning)
    text = "" if message is None else unescape(message[1].decode("utf-8", "replace")).strip()
    return TryProblem(type=code[1].decode("ascii"), message=text or "It says no more.")


@cache
def _endpoints() -> EndpointResolver:
    return EndpointResolver(Loader().load_data("endpoints"))


def _aws_host(region: str) -> str:
    known: dict[str, Any] | None = _endpoints().construct_endpoint("s3", region)
    return known["hostname"] if known else f"s3.{region}.amazonaws.com"


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("ascii")
