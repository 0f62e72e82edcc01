"""The start request: bounds, strict types, nulls, unknown fields, and what an error says and does not say."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from callboard.schemas.errors import BadRequest
from callboard.schemas.rest.field_errors import validation_error
from callboard.schemas.rest.run_auth_session import RuntimeAuthSession, StoredAuthSession
from callboard.schemas.rest.sink import S3Sink, WebhookSink
from callboard.schemas.rest.start_request import StartRequest
from tests.support.present import assert_has

SECRET = "t0p-s3cret"
WEBHOOK = {"type": "webhook", "url": f"https://hook.example/x?token={SECRET}"}
S3 = {"type": "s3", "bucket": "b-1", "accessKeyId": "AK", "secretAccessKey": SECRET, "region": "eu"}


def body(**fields: Any) -> dict[str, Any]:
    return {"api": "list", "parameters": {}, **fields}


def read(**fields: Any) -> StartRequest:
    return StartRequest.model_validate(body(**fields))


def refusal(value: Any) -> BadRequest:
    """The error that such a body is refused with. No secret that was sent is repeated in it."""
    with pytest.raises(ValidationError) as caught:
        StartRequest.model_validate(value)
    problem = validation_error(caught.value, StartRequest)
    assert SECRET not in problem.message + str(problem.details) + str(caught.value)
    return problem


def path_of(value: Any) -> str:
    details = refusal(value).details
    assert details is not None
    return details["path"]


def test_a_minimal_request_has_the_contract_s_defaults():
    request = read()
    assert [read(saveTrace=said).save_trace for said in (True, False, "on-failure")] == [True, False, "on-failure"]
    assert request.retry.maximum_attempts == 3
    assert_has(request, request_timeout=600, save_trace=True, proxy=None, auth_session=None, sink=None)


def test_null_counts_as_absent_for_every_optional_field():
    nulls = ("retry", "requestTimeout", "queueTimeout", "proxy", "saveTrace", "authSession", "sink")
    assert read(**dict.fromkeys(nulls)) == read()
    assert read(retry={"maximumAttempts": None}) == read()
    sink = read(sink={**S3, "prefix": None, "endpoint": None, "forcePathStyle": None, "skipOnFail": None}).sink
    assert sink == read(sink=S3).sink


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = [
    *("api", "parameters", "retry", "requestTimeout", "queueTimeout"),
    *("proxy", "saveTrace", "authSession", "sink", "other"),
]
LIMITS = {
    "retry.maximumAttempts": 100,
    "requestTimeout": 43_200,
    "queueTimeout": 604_800,
    "authSession.checkAttempts": 10,
    "authSession.createAttempts": 10,
    "authSession.requestTimeout": 43_200,
}


@pytest.mark.parametrize("path", LIMITS)
@given(json_values)
def test_a_number_is_an_integer_from_1_to_its_limit(path: str, drawn: Any):
    limit, (outer, _, name) = LIMITS[path], path.rpartition(".")
    for value in (0, 1, limit, limit + 1, True, "3", 3.0, drawn):
        inner = {"id": "me", name: value} if outer == "authSession" else {name: value}
        sent = body(**{outer: inner} if outer else inner)
        if type(value) is int and 1 <= value <= limit:
            assert StartRequest.model_validate(sent).model_dump(exclude_unset=True) == sent
        elif value is not None:
            assert path_of(sent) == path


INTERVALS = {
    0: 0,
    1.5: 1.5,
    86_400: 86_400,
    "250ms": 0.25,
    " 90 Seconds": 90,
    "1.5h": 5_400,
    "1 day": 86_400,
}
NO_INTERVALS = (
    -1,
    86_400.5,
    1e300,
    10**400,
    math.nan,
    math.inf,
    True,
    "",
    "5",
    "1.",
    "soon",
    "-1s",
    "25 hours",
    [],
    {},
)


@pytest.mark.parametrize("name", ["initialInterval", "maximumInterval"])
def test_a_wait_is_a_number_of_seconds_or_a_text_with_its_unit(name: str):
    for value, seconds in INTERVALS.items():
        assert read(retry={name: value}).model_dump(exclude_unset=True)["retry"] == {name: seconds}
        assert read(retry={name: value}).canonical() == read(retry={name: seconds}).canonical()
    for value in NO_INTERVALS:
        assert path_of(body(retry={name: value})) == f"retry.{name}"
    expected = 'seconds from 0 to 86400, or a text such as "90 seconds" or "2h", at most 24 hours'
    assert refusal(body(retry={name: "5"})).message == f"retry.{name}: expected {expected}."


def test_waits_grow_by_a_number_from_1_to_100():
    for value in (1, 1.5, 100):
        assert read(retry={"backoffCoefficient": value}).retry.backoff_coefficient == value
    for value in (0.9, 101, math.nan, math.inf, "2", True):
        assert path_of(body(retry={"backoffCoefficient": value})) == "retry.backoffCoefficient"


@given(st.dictionaries(st.sampled_from(FIELDS), json_values))
def test_what_is_sent_is_read_or_refused_with_path_and_expectation(value: dict[str, Any]):
    try:
        StartRequest.model_validate(value)
    except ValidationError as error:
        problem = validation_error(error, StartRequest)
        assert problem.details is not None
        assert problem.details["path"].partition(".")[0].partition("[")[0] in FIELDS
        assert problem.details["expected"]
        assert problem.details["errors"]


NO_WEBHOOKS = [
    *(f"ftp://{SECRET}@h", "https://", "https://hook.example/a b", "https://hook.example:0/"),
    *("https://hook.example:66000/", "https://ada:lovelace@hook.example/", "https://ada@hook.example/"),
    *("https://@hook.example/", "https://hook.example\\@other.example/"),
]
NO_HEADERS: list[dict[str, Any]] = [
    *({"a": "b\r\nc: d"}, {"a b": "c"}, {"A": "b", "a": "b"}, {"a": 1}, {"a": "b" * 16_000}),
    {"authorization": f"{SECRET}\n"},
]
NO_BUCKET: dict[str, list[Any]] = {
    "bucket": ["a/b", ".."],
    "endpoint": [
        *("s3.example", "https://s3.example/?x=1", "https://s3.example/#x", "https://ada:lovelace@s3.example")
    ],
    "region": ["eu.evil.example/", ""],
    "prefix": ["a/../../b", "./a", "a\n", "é" * 401],
    "accessKeyId": ["a b"],
    "secretAccessKey": ["a\r\nb", [SECRET]],
}


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"parameters": {}}, "api"),
        ({"api": "a"}, "parameters"),
        ({"api": None, "parameters": {}}, "api"),
        ({"api": "a", "parameters": None}, "parameters"),
        ({"api": [SECRET], "parameters": SECRET}, "api"),
        *((body(api=api), "api") for api in ("", 7)),
        *((body(parameters=parameters), "parameters") for parameters in ([], "{}")),
        *((body(retry=retry), "retry") for retry in (3, [])),
        (body(retry={"maximumAttempts": 3, "delay": 1}), "retry.delay"),
        *((body(saveTrace=said), "saveTrace") for said in ("true", 1, "on-success")),
        *((body(proxy=proxy), "proxy") for proxy in (f"ftp://user:{SECRET}@host", [SECRET])),
        (body(maximumAttempts=3), "maximumAttempts"),
        (body(request_timeout=3), "request_timeout"),
        (body(unknown=None), "unknown"),
        (body(authSession="me"), "authSession"),
        *((body(authSession=each), "authSession.id") for each in ({}, {"id": ""}, {"runtimeInput": {}, "id": "~x"})),
        (body(authSession={"id": "me", "proxy": "me"}), "authSession.proxy"),
        (body(authSession={"id": "me", "x": 1}), "authSession.x"),
        (body(authSession={"runtimeInput": {}, "autoRecreate": False}), "authSession.autoRecreate"),
        *((body(authSession={"runtimeInput": said}), "authSession.runtimeInput") for said in (3, SECRET)),
        (body(sink="https://hook.example"), "sink"),
        *((body(sink=sink), "sink.type") for sink in ({}, {"type": "email"}, {"type": SECRET})),
        (body(sink={"type": "webhook"}), "sink.url"),
        (body(sink={**WEBHOOK, "bucket": "b"}), "sink.bucket"),
        (body(sink={**WEBHOOK, "apisToSend": ["a", 3]}), "sink.apisToSend[1]"),
        (body(sink={**WEBHOOK, "apisToSend": ["a"] * 501}), "sink.apisToSend"),
        *((body(sink={**WEBHOOK, "url": url}), "sink.url") for url in NO_WEBHOOKS),
        *((body(sink={**WEBHOOK, "headers": headers}), "sink.headers") for headers in NO_HEADERS),
        *(
            (body(sink={**S3, field: value}), f"sink.{field}")
            for field, values in NO_BUCKET.items()
            for value in values
        ),
        (body(sink={key: value for key, value in S3.items() if key != "region"}), "sink.region"),
    ],
)
def test_what_is_wrong_is_refused_with_its_path(value: dict[str, Any], path: str):
    assert path_of(value) == path


def test_a_mistake_is_answered_with_what_was_meant():
    assert "Did you mean requestTimeout?" in refusal(body(request_timeout=3)).message
    assert "Did you mean maximumAttempts?" in refusal(body(retry={"maximumAttempt": 3})).message
    url = refusal(body(sink={**WEBHOOK, "url": "https://ada:lovelace@hook.example/"})).message
    assert "send them as a header" in url
    assert "lovelace" not in url
    assert "Did you mean url?" in refusal(body(sink={**WEBHOOK, "urls": "x"})).message
    runtime = {"runtimeInput": {}, "autorecreate": True}
    assert "authSession.autorecreate. Did you mean autoRecreate?" in refusal(body(authSession=runtime)).message


def test_all_that_is_wrong_is_listed_and_what_is_long_is_cut():
    details = refusal({"api": 3, "retry": {"maximumAttempts": 0}, "saveTrace": "no"}).details
    assert details is not None
    assert [line["path"] for line in details["errors"]] == ["api", "parameters", "retry.maximumAttempts", "saveTrace"]
    many = refusal(body(**{f"x{number}": 1 for number in range(90)}))
    assert many.details is not None
    assert len(many.details["errors"]) == 20
    assert len(path_of(body(**{"x" * 100_000: 1}))) <= 200


def test_both_forms_of_an_auth_session_are_told_apart():
    full = {"autoRecreate": False, "checkAttempts": 1, "createAttempts": 10, "saveTrace": False, "requestTimeout": 9}
    for stored in ({}, {"runtimeInput": None}, {**full, "proxy": "http://p:1"}):
        assert isinstance(read(authSession={"id": "me", **stored}).auth_session, StoredAuthSession)
    assert isinstance(read(authSession={"id": "ann", "runtimeInput": {}}).auth_session, RuntimeAuthSession)


@pytest.mark.parametrize(
    "name",
    [
        *("webhook-id", "Webhook-Timestamp", "WEBHOOK-SIGNATURE", "webhook-anything", "Webhook_Signature"),
        *("Content-Type", "content-length", "Host", "transfer-encoding", "Connection", "expect"),
    ],
)
def test_a_header_that_a_delivery_is_made_of_is_refused_by_name(name: str):
    error = refusal(body(sink={**WEBHOOK, "headers": {"authorization": "x", name: "y"}}))
    assert error.details is not None
    assert error.details["path"] == "sink.headers"
    assert f"headers without {name.lower()}, which Callboard sets itself" in error.message


def test_both_kinds_of_sink_are_read_and_print_no_secret():
    webhook = read(sink={**WEBHOOK, "headers": {"authorization": SECRET, "x-empty": ""}, "apisToSend": ["a"]})
    bucket = read(
        sink={**S3, "prefix": "runs/", "endpoint": "http://127.0.0.1:9000"},
        parameters={"password": SECRET},
        proxy=f"http://u:{SECRET}@h",
        authSession={"runtimeInput": {"p": SECRET}},
    )
    assert (type(webhook.sink), type(bucket.sink)) == (WebhookSink, S3Sink)
    assert SECRET not in repr([webhook, bucket])
    assert read(sink=WEBHOOK).sink == read(sink={**WEBHOOK, "headers": {}}).sink


@given(st.dictionaries(st.text(), json_values))
def test_requests_that_mean_the_same_have_one_canonical_form(parameters: dict[str, Any]):
    plain = read(parameters=parameters, saveTrace=True).canonical()
    reordered = dict(reversed(parameters.items()))
    assert read(parameters=reordered, retry={}, proxy=None, requestTimeout=None).canonical() == plain
    assert plain.isascii()
    assert read(tags=["a", "b"]).canonical() == read(tags=["b", "a"]).canonical() != read(tags=[]).canonical()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *(({}, {name: value}) for name, value in {"retry": {"maximumAttempts": 3}, "queueTimeout": 600}.items()),
        ({}, {"requestTimeout": 600}),  # a default that a project may change
        ({"parameters": {"a": 1}}, {"parameters": {"a": 1, "b": [2]}}),
        ({"authSession": {"id": "ann"}}, {"authSession": {"id": "ann", "runtimeInput": {}}}),
        ({"sink": S3}, {"sink": {**S3, "secretAccessKey": "another"}}),
    ],
)
def test_requests_that_mean_something_else_have_another(one: dict[str, Any], other: dict[str, Any]):
    assert read(**one).canonical() != read(**other).canonical()
