"""Objects in buckets: where they lie, how they are signed, and what their servers' answers mean."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest

from activities.deliveries import s3_sink
from activities.deliveries.http_sender import PreparedRequest, SinkResponse, exchange
from callboard.schemas.workflow.delivery import DeliverInput
from callboard.schemas.workflow.sink import SealedBucket
from callboard.security.egress import EgressPolicy
from callboard.security.pinned_transport import PinnedTransport
from tests.support.constants import LOOPBACK
from tests.support.delivery_inputs import RING, delivery
from tests.support.present import present
from tests.support.webhook_receiver import receiver

BODY = b'{"n":1}'


def sink(**fields: Any) -> dict[str, Any]:
    return {
        "type": "s3",
        "bucket": "results",
        "region": "eu-central-1",
        "accessKeyId": "AKIDEXAMPLE",
        "secretAccessKey": "a-secret-of-no-worth",
        **fields,
    }


def sealed_bucket(**fields: Any) -> SealedBucket:
    return present(delivery(sink(**fields)).sink.bucket)


def build(input: DeliverInput | None = None) -> PreparedRequest:
    input = input or delivery(sink())
    bucket = present(input.sink.bucket)
    return s3_sink.build_request(input, bucket, BODY, keyring=RING, user_agent="callboard/1")


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({}, "https://results.s3.eu-central-1.amazonaws.com/r.json"),
        ({"forcePathStyle": True}, "https://s3.eu-central-1.amazonaws.com/results/r.json"),
        ({"bucket": "with.dots"}, "https://s3.eu-central-1.amazonaws.com/with.dots/r.json"),
        ({"bucket": "Old_Name"}, "https://s3.eu-central-1.amazonaws.com/Old_Name/r.json"),
        ({"region": "us-east-1"}, "https://results.s3.us-east-1.amazonaws.com/r.json"),
        ({"region": "cn-north-1"}, "https://results.s3.cn-north-1.amazonaws.com.cn/r.json"),
        ({"region": "eu-new-9"}, "https://results.s3.eu-new-9.amazonaws.com/r.json"),
        ({"endpoint": "https://s3.example/"}, "https://results.s3.example/r.json"),
        ({"endpoint": "https://s3.example:9000/base/"}, "https://results.s3.example:9000/base/r.json"),
        ({"endpoint": "https://s3.example", "forcePathStyle": True}, "https://s3.example/results/r.json"),
        ({"endpoint": "http://127.0.0.1:9000"}, "http://127.0.0.1:9000/results/r.json"),
        ({"endpoint": "http://[::1]:9000"}, "http://[::1]:9000/results/r.json"),
    ],
)
def test_where_the_bucket_is(fields: dict[str, Any], url: str) -> None:
    assert s3_sink.object_url(sealed_bucket(**fields), "r") == url


@pytest.mark.parametrize(
    ("prefix", "key"),
    [
        ("", "r.json"),
        ("/", "r.json"),
        ("runs", "runs/r.json"),
        ("runs/", "runs/r.json"),
        ("/runs/of/shop//", "runs/of/shop/r.json"),
        ("a b/é", "a%20b/%C3%A9/r.json"),
        ("what?#%", "what%3F%23%25/r.json"),
    ],
)
def test_one_slash_stands_between_prefix_and_run(prefix: str, key: str) -> None:
    url = s3_sink.object_url(sealed_bucket(prefix=prefix), "r")
    assert url == f"https://results.s3.eu-central-1.amazonaws.com/{key}"
    assert httpx.URL(url).raw_path.decode() == f"/{key}", "httpx sends what was signed"


def test_nothing_of_this_host_s_own_settings_for_aws_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = build().request
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AMBIENT",
        "AWS_SECRET_ACCESS_KEY": "ambient",
        "AWS_SESSION_TOKEN": "ambient",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
        "AWS_PROFILE": "nobody",
        "AWS_DEFAULT_REGION": "ap-south-1",
        "AWS_USE_FIPS_ENDPOINT": "true",
    }.items():
        monkeypatch.setenv(name, value)
    again = build().request
    assert again.url == plain.url
    assert again.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "/eu-central-1/s3/aws4_request" in again.headers["authorization"]
    assert "x-amz-security-token" not in again.headers


def test_the_request_prints_no_secret() -> None:
    out = build()
    assert "a-secret-of-no-worth" not in repr(out)
    assert out.secrets == {"AKIDEXAMPLE", "a-secret-of-no-worth"}


async def test_the_object_is_json_and_the_name_of_the_bucket_stands_in_the_host() -> None:
    async def look_up(host: str, port: int) -> list[str]:
        assert host == "results.s3.example"
        return ["127.0.0.1"]

    async with receiver() as inbox, PinnedTransport(EgressPolicy(LOOPBACK, resolve=look_up)) as transport:
        out = build(delivery(sink(endpoint=f"http://s3.example:{inbox.port}"), run_id="run-8"))
        await exchange(transport, out.request, timedelta(seconds=20))
    (request,) = inbox.received
    assert (request.method, request.target, request.body) == ("PUT", "/run-8.json", BODY)
    assert request.headers["host"] == f"results.s3.example:{inbox.port}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"] == "callboard/1"
    signed = request.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    assert {"host", "content-type", "x-amz-content-sha256", "x-amz-date"} <= set(signed)


def answer(status: int, body: bytes) -> SinkResponse:
    return SinkResponse(status, httpx.Headers(), body, timedelta())


@pytest.mark.parametrize(
    ("status", "code", "final"),
    [
        (301, "PermanentRedirect", True),
        (307, "TemporaryRedirect", False),
        (400, "AuthorizationHeaderMalformed", True),
        (400, "InvalidArgument", True),
        (400, "RequestTimeout", False),
        (403, "AccessDenied", True),
        (403, "RequestTimeTooSkewed", False),
        (500, "InternalError", False),
        (503, "SlowDown", False),
    ],
)
def test_which_errors_are_final(status: int, code: str, final: bool) -> None:
    xml = f'<?xml version="1.0"?><Error xmlns="x"><Code>{code}</Code><Message>a &lt;b&gt;</Message></Error>'
    verdict = s3_sink.classify_response(answer(status, xml.encode()))
    assert (verdict.final, verdict.message) == (final, f"The bucket's server answered {status} {code}: a <b>")


@pytest.mark.parametrize(("status", "body"), [(404, b""), (403, b"<html>no</html>"), (500, b"\xff\xfe")])
def test_an_answer_in_other_words_is_not_final(status: int, body: bytes) -> None:
    verdict = s3_sink.classify_response(answer(status, body))
    assert (verdict.final, verdict.message) == (False, f"The bucket's server answered {status}.")
