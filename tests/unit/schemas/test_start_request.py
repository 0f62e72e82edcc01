"""The start request: bounds, strict types, nulls, unknown fields, and what an error says and does not say."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.errors import BadRequest
from schemas.rest.field_errors import validation_error
from schemas.rest.run_auth_session import RuntimeAuthSession, StoredAuthSession
from schemas.rest.sink import S3Sink, WebhookSink
from schemas.rest.start import StartRequest

WEBHOOK = {"type": "webhook", "url": "https://hook.example/x?token=t0p-s3cret"}
S3 = {"type": "s3", "bucket": "b-1", "accessKeyId": "AK", "secretAccessKey": "t0p-s3cret", "region": "eu"}


def body(**fields: Any) -> dict[str, Any]:
    return {"api": "list", "parameters": {}, **fields}


def read(**fields: Any) -> StartRequest:
    return StartRequest.model_validate(body(**fields))


def refusal(value: Any) -> BadRequest:
    with pytest.raises(ValidationError) as caught:
        StartRequest.model_validate(value)
    return validation_error(caught.value, StartRequest)


def path_of(value: Any) -> str:
    details = refusal(value).details
    assert details is not None
    return details["path"]


def test_a_minimal_request_has_the_contract_s_defaults():
    request = read()
    assert request.retry.maximum_attempts == 3
    assert request.request_timeout == 600
    assert request.save_trace is True
    assert request.proxy is None
    assert request.auth_session is None
    assert request.sink is None


@pytest.mark.parametrize("said", [True, False, "on-failure"])
def test_a_trace_is_kept_always_never_or_of_failures(said: Any):
    assert read(saveTrace=said).save_trace == said


def test_null_counts_as_absent_for_every_optional_field():
    nulls = ("retry", "requestTimeout", "queueTimeout", "proxy", "saveTrace", "authSession", "sink")
    assert read(**dict.fromkeys(nulls)) == read()
    assert read(retry={"maximumAttempts": None}) == read()
    sink = read(sink={**S3, "prefix": None, "endpoint": None, "forcePathStyle": None, "skipOnFail": None}).sink
    assert sink == read(sink=S3).sink


def test_null_does_not_count_as_absent_for_a_required_field():
    assert path_of({"api": None, "parameters": {}}) == "api"
    assert path_of({"api": "a", "parameters": None}) == "parameters"


@given(st.integers())
def test_maximum_attempts_goes_from_1_to_100(number: int):
    if 1 <= number <= 100:
        assert read(retry={"maximumAttempts": number}).retry.maximum_attempts == number
    else:
        assert path_of(body(retry={"maximumAttempts": number})) == "retry.maximumAttempts"


@given(st.integers() | st.integers(-2, 43_202))
def test_request_timeout_goes_from_1_to_43200_seconds(number: int):
    if 1 <= number <= 43_200:
        assert read(requestTimeout=number).request_timeout == number
    else:
        assert path_of(body(requestTimeout=number)) == "requestTimeout"


@given(st.integers() | st.integers(-2, 604_802))
def test_queue_timeout_goes_from_1_to_604800_seconds(number: int):
    if 1 <= number <= 604_800:
        assert read(queueTimeout=number).queue_timeout == number
    else:
        assert path_of(body(queueTimeout=number)) == "queueTimeout"


@given(st.integers(-5, 20), st.sampled_from(["checkAttempts", "createAttempts"]))
def test_attempts_of_an_auth_session_go_from_1_to_10(number: int, field: str):
    if 1 <= number <= 10:
        assert read(authSession={"id": "me", field: number}).auth_session is not None
    else:
        assert path_of(body(authSession={"id": "me", field: number})) == f"authSession.{field}"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = [
    "api",
    "parameters",
    "retry",
    "requestTimeout",
    "queueTimeout",
    "proxy",
    "saveTrace",
    "authSession",
    "sink",
    "other",
]


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


@given(json_values)
def test_only_an_integer_is_an_integer(value: Any):
    if type(value) is int and 1 <= value <= 43_200:
        return
    if value is not None:
        assert path_of(body(requestTimeout=value)) == "requestTimeout"


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (body(retry={"maximumAttempts": "3"}), "retry.maximumAttempts"),
        (body(retry={"maximumAttempts": True}), "retry.maximumAttempts"),
        (body(retry={"maximumAttempts": 3.0}), "retry.maximumAttempts"),
        (body(retry=3), "retry"),
        (body(retry=[]), "retry"),
        (body(saveTrace="true"), "saveTrace"),
        (body(saveTrace=1), "saveTrace"),
        (body(saveTrace="on-success"), "saveTrace"),
        (body(api=""), "api"),
        (body(api=7), "api"),
        (body(parameters=[]), "parameters"),
        (body(parameters="{}"), "parameters"),
        ({"parameters": {}}, "api"),
        ({"api": "a"}, "parameters"),
        (body(maximumAttempts=3), "maximumAttempts"),
        (body(request_timeout=3), "request_timeout"),
        (body(unknown=None), "unknown"),
        (body(retry={"maximumAttempts": 3, "delay": 1}), "retry.delay"),
        (body(authSession={}), "authSession.id"),
        (body(authSession="me"), "authSession"),
        (body(authSession={"id": ""}), "authSession.id"),
        (body(authSession={"id": "me", "requestTimeout": 0}), "authSession.requestTimeout"),
        (body(authSession={"id": "me", "proxy": "me"}), "authSession.proxy"),
        (body(authSession={"id": "me", "x": 1}), "authSession.x"),
        (body(authSession={"runtimeInput": {}, "autoRecreate": False}), "authSession.autoRecreate"),
        (body(authSession={"runtimeInput": 3}), "authSession.runtimeInput"),
        (body(authSession={"runtimeInput": {}, "id": "~x"}), "authSession.id"),
        (body(sink="https://hook.example"), "sink"),
        (body(sink={}), "sink.type"),
        (body(sink={"type": "email"}), "sink.type"),
        (body(sink={"type": "webhook"}), "sink.url"),
        (body(sink={**WEBHOOK, "url": "ftp://hook.example"}), "sink.url"),
        (body(sink={**WEBHOOK, "url": "https://"}), "sink.url"),
        (body(sink={**WEBHOOK, "url": "https://hook.example/a b"}), "sink.url"),
        (body(sink={**WEBHOOK, "url": "https://hook.example:0/"}), "sink.url"),
        (body(sink={**WEBHOOK, "url": "https://hook.example:66000/"}), "sink.url"),
        (body(sink={**WEBHOOK, "headers": {"a": "b\r\nc: d"}}), "sink.headers"),
        (body(sink={**WEBHOOK, "headers": {"a b": "c"}}), "sink.headers"),
        (body(sink={**WEBHOOK, "url": "https://ada:lovelace@hook.example/"}), "sink.url"),
        (body(sink={**WEBHOOK, "url": "https://ada@hook.example/"}), "sink.url"),
        (body(sink={**WEBHOOK, "url": "https://@hook.example/"}), "sink.url"),
        (body(sink={**WEBHOOK, "url": "https://hook.example\\@other.example/"}), "sink.url"),
        (body(sink={**WEBHOOK, "headers": {"A": "b", "a": "b"}}), "sink.headers"),
        (body(sink={**WEBHOOK, "headers": {"a": 1}}), "sink.headers"),
        (body(sink={**WEBHOOK, "headers": {"a": "b" * 16_000}}), "sink.headers"),
        (body(sink={**WEBHOOK, "apisToSend": ["a", 3]}), "sink.apisToSend[1]"),
        (body(sink={**WEBHOOK, "apisToSend": ["a"] * 501}), "sink.apisToSend"),
        (body(sink={**WEBHOOK, "bucket": "b"}), "sink.bucket"),
        (body(sink={**S3, "bucket": "a/b"}), "sink.bucket"),
        (body(sink={**S3, "bucket": ".."}), "sink.bucket"),
        (body(sink={**S3, "endpoint": "s3.example"}), "sink.endpoint"),
        (body(sink={**S3, "endpoint": "https://s3.example/?x=1"}), "sink.endpoint"),
        (body(sink={**S3, "endpoint": "https://s3.example/#x"}), "sink.endpoint"),
        (body(sink={**S3, "endpoint": "https://ada:lovelace@s3.example"}), "sink.endpoint"),
        (body(sink={**S3, "region": "eu.evil.example/"}), "sink.region"),
        (body(sink={**S3, "region": ""}), "sink.region"),
        (body(sink={**S3, "prefix": "a/../../b"}), "sink.prefix"),
        (body(sink={**S3, "prefix": "./a"}), "sink.prefix"),
        (body(sink={**S3, "prefix": "a\n"}), "sink.prefix"),
        (body(sink={**S3, "prefix": "é" * 401}), "sink.prefix"),
        (body(sink={**S3, "accessKeyId": "a b"}), "sink.accessKeyId"),
        (body(sink={**S3, "secretAccessKey": "a\r\nb"}), "sink.secretAccessKey"),
        (body(sink={key: value for key, value in S3.items() if key != "region"}), "sink.region"),
    ],
)
def test_what_is_wrong_is_refused_with_its_path(value: dict[str, Any], path: str):
    assert path_of(value) == path


def test_a_typo_is_answered_with_the_name_that_was_meant():
    assert "Did you mean requestTimeout?" in refusal(body(request_timeout=3)).message
    assert "Did you mean maximumAttempts?" in refusal(body(retry={"maximumAttempt": 3})).message
    assert "Did you mean url?" in refusal(body(sink={**WEBHOOK, "urls": "x"})).message
    runtime = {"runtimeInput": {}, "autorecreate": True}
    assert "authSession.autorecreate. Did you mean autoRecreate?" in refusal(body(authSession=runtime)).message


def test_all_that_is_wrong_is_listed_and_a_long_list_is_cut():
    details = refusal({"api": 3, "retry": {"maximumAttempts": 0}, "saveTrace": "no"}).details
    assert details is not None
    assert [line["path"] for line in details["errors"]] == ["api", "parameters", "retry.maximumAttempts", "saveTrace"]
    many = refusal(body(**{f"x{number}": 1 for number in range(500)}))
    assert many.details is not None
    assert len(many.details["errors"]) == 20


def test_a_field_name_without_end_is_cut():
    assert len(path_of(body(**{"x" * 100_000: 1}))) <= 200


def test_both_forms_of_an_auth_session_are_told_apart():
    assert isinstance(read(authSession={"id": "me"}).auth_session, StoredAuthSession)
    assert isinstance(read(authSession={"id": "me", "runtimeInput": None}).auth_session, StoredAuthSession)
    assert isinstance(read(authSession={"id": "ann", "runtimeInput": {}}).auth_session, RuntimeAuthSession)
    full = {"id": "me", "autoRecreate": False, "checkAttempts": 1, "createAttempts": 10, "saveTrace": False}
    assert isinstance(
        read(authSession={**full, "proxy": "http://p:1", "requestTimeout": 9}).auth_session, StoredAuthSession
    )


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


def test_credentials_in_an_address_are_refused_with_what_to_do_instead():
    error = refusal(body(sink={**WEBHOOK, "url": "https://ada:lovelace@hook.example/"}))
    assert "send them as a header" in error.message
    assert "lovelace" not in error.message


def test_both_kinds_of_sink_are_read():
    webhook = read(sink={**WEBHOOK, "headers": {"authorization": "Bearer x", "x-empty": ""}, "apisToSend": ["a"]}).sink
    assert isinstance(webhook, WebhookSink)
    assert isinstance(read(sink={**S3, "prefix": "runs/", "endpoint": "http://127.0.0.1:9000"}).sink, S3Sink)


SECRET = "t0p-s3cret"


@pytest.mark.parametrize(
    "value",
    [
        body(proxy=f"ftp://user:{SECRET}@host"),
        body(proxy=[SECRET]),
        body(sink={**S3, "secretAccessKey": [SECRET]}),
        body(sink={**WEBHOOK, "url": f"ftp://{SECRET}@h"}),
        body(sink={**WEBHOOK, "headers": {"authorization": f"{SECRET}\n"}}),
        body(sink={"type": SECRET}),
        {"api": [SECRET], "parameters": SECRET},
        body(authSession={"runtimeInput": SECRET}),
    ],
)
def test_what_was_sent_is_never_repeated(value: dict[str, Any]):
    problem = refusal(value)
    assert SECRET not in problem.message + str(problem.details)
    with pytest.raises(ValidationError) as caught:
        StartRequest.model_validate(value)
    assert SECRET not in str(caught.value)


def test_a_request_does_not_print_its_secrets():
    request = read(
        parameters={"password": SECRET},
        proxy=f"http://u:{SECRET}@h",
        sink=S3,
        authSession={"runtimeInput": {"p": SECRET}},
    )
    assert SECRET not in repr(request)
    assert SECRET not in repr(read(sink={**WEBHOOK, "headers": {"authorization": SECRET}}))


def test_requests_that_mean_the_same_have_one_canonical_form():
    plain = read(parameters={"a": 1, "b": [2]}).canonical()
    assert read(parameters={"b": [2], "a": 1}, retry={}, proxy=None, requestTimeout=None).canonical() == plain
    assert read(parameters={"b": [2], "a": 1}, saveTrace=True).canonical() == plain
    for other in (read(parameters={"a": 1}), read(parameters={"a": 1, "b": [2]}, requestTimeout=601)):
        assert other.canonical() != plain
    stored, runtime = {"id": "ann"}, {"id": "ann", "runtimeInput": {}}
    assert read(authSession=stored).canonical() != read(authSession=runtime).canonical()
    assert read(sink=WEBHOOK).canonical() == read(sink={**WEBHOOK, "headers": {}}).canonical()
    assert read(sink=S3).canonical() != read(sink={**S3, "secretAccessKey": "another"}).canonical()


def test_a_default_that_a_project_may_change_is_another_request_when_said():
    plain = read().canonical()
    assert read(retry={"maximumAttempts": 3}).canonical() != plain
    assert read(requestTimeout=600).canonical() != plain
    assert read(queueTimeout=600).canonical() != plain


def test_the_canonical_form_holds_whatever_json_holds():
    deep: dict[str, Any] = {"x": "\u2028 é 😀 \x00", "n": 10**40}
    for _ in range(197):
        deep = {"a": deep}
    assert read(parameters=deep).canonical().isascii()
