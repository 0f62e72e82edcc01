"""Settings files are read leniently where people write by hand, and refused plainly where a value is wrong."""

import json
import math
import re
import tempfile
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from callboard.projects.project_settings import NAME_RULE, ProjectSettings, is_project_name
from callboard.projects.settings_file import read_settings, read_settings_file, resolve_project_name
from callboard.schemas.errors import ProjectError, SettingsError
from callboard.schemas.workflow.alert import AlertRule
from tests.support.present import present

GIB = 1024**3

numbers = st.integers() | st.floats(allow_nan=False)
anything = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def read(text: str | bytes, name: str = "Intuned.jsonc") -> ProjectSettings:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_settings(Path(folder))


def refusal(text: str | bytes) -> str:
    with pytest.raises(SettingsError) as error:
        read(text)
    assert error.value.details is not None
    assert error.value.message.startswith("Intuned.jsonc: ")
    return error.value.message.removeprefix("Intuned.jsonc: ")


def test_an_empty_object_gives_the_defaults_of_the_contract():
    settings = read("{}")
    assert settings.project_name is None
    assert settings.machines == 1
    assert settings.memory_limit == 2 * GIB
    assert settings.api_access.enabled
    assert not settings.auth_sessions.enabled
    assert settings.auth_sessions.save_back
    assert settings.auth_sessions.secret_parameters == ()
    assert not settings.headful
    assert not settings.allow_file_urls
    assert (settings.browser_size.width, settings.browser_size.height) == (1024, 800)


def test_comments_trailing_commas_and_unknown_keys_are_fine():
    settings = read("""
        // A template's settings
        {
          "version": "2.0",
          "projectName": "shop", /* the shop */
          "replication": {"maxConcurrentRequests": 3, "size": "large", "colour": null,},
          "captchaSolver": {"enabled": false, "settings": {"maxRetries": 3}},
          "metadata": {"tags": ["a", "b",]},
          "headful": true,
          "allowFileUrls": true,
          "authSessions": {"enabled": true, "type": "API", "saveBack": false, "secretParameters": ["answer", "pet"]},
        }
    """)
    assert settings.project_name == "shop"
    assert settings.machines == 3
    assert settings.memory_limit == 4 * GIB
    assert settings.headful
    assert settings.allow_file_urls
    assert (settings.auth_sessions.save_back, settings.auth_sessions.secret_parameters) == (False, ("answer", "pet"))
    assert read(b'\xef\xbb\xbf{"projectName": "shop"}').project_name == "shop", "a byte order mark is fine"


def test_a_missing_settings_file_says_what_to_create(tmp_path: Path):
    with pytest.raises(ProjectError) as error:
        read_settings(tmp_path)
    assert error.value.message == (
        f"{tmp_path}: this is not a project, as it has no settings file. Create Intuned.jsonc in it; {{}} is enough."
    )


@pytest.mark.parametrize(
    ("replication", "machines"),
    [
        ("{}", 1),
        ('{"maxConcurrentRequests": 4}', 4),
        ('{"maxCount": 3, "minCount": 0}', 3),
        ('{"maxCount": 3, "maxConcurrentRequests": 2}', 2),
        ('{"maxConcurrentRequests": null, "maxCount": 3}', 3),
        ('{"maxConcurrentRequests": 5.0}', 5),
        ('{"maxConcurrentRequests": 1000}', 1000),
    ],
)
def test_machines_are_max_concurrent_requests_else_max_count_else_one(replication: str, machines: int):
    assert read(f'{{"replication": {replication}}}').machines == machines


@pytest.mark.parametrize(
    ("handoffs", "seconds", "most"),
    [
        ("{}", 900, 3),
        ('{"maxTimeout": 60, "maxOpen": 7}', 60, 7),
        ('{"maxTimeout": "90s"}', 90, 3),
        ('{"maxTimeout": "15 m"}', 900, 3),
        ('{"maxTimeout": "12h"}', 43_200, 3),
    ],
)
def test_questions_wait_as_long_and_are_as_many_as_is_said(handoffs: str, seconds: float, most: int):
    settings = read(f'{{"replication": {{"maxCount": 4}}, "handoffs": {handoffs}}}')
    assert (settings.handoffs.longest.total_seconds(), settings.most_open_handoffs) == (seconds, most)
    assert read("{}").most_open_handoffs == 1


def test_the_webhook_of_questions_is_read_or_refused_without_what_it_holds():
    told = {"type": "webhook", "url": "https://hook.example/?t0p-s3cret", "headers": {"x-key": "t0p-s3cret"}}
    webhook = present(read(json.dumps({"handoffs": {"webhook": told}})).handoffs.webhook)
    assert (webhook.url, webhook.headers) == (told["url"], told["headers"])
    for changed in ({"url": "ftp://t0p-s3cret"}, {"skipOnFail": "t0p-s3cret"}, {"type": "t0p-s3cret"}):
        message = refusal(json.dumps({"handoffs": {"webhook": {**told, **changed}}}))
        assert message.startswith(f"handoffs.webhook.{next(iter(changed))}: ")
        assert "t0p" not in message


ALERT = {"url": "https://hook.example/?t0p-s3cret", "secret": f"whsec_{'MfKQ' * 8}"}


def test_an_alert_is_one_rule_with_who_is_told():
    failures, rate = (
        {"failures": 3, "within": "1h", **ALERT},
        {"successRate": 0.9, "of": 20, "url": "https://other.example"},
    )
    first, second = read(json.dumps({"alerts": [failures, rate]})).alerts
    assert (first.rule, first.url) == (AlertRule(failures=3, within=timedelta(hours=1)), ALERT["url"])
    assert (second.rule, second.secret) == (AlertRule(success_rate=0.9, of=20), None)
    assert "s3cret" not in repr(first)
    assert first.secret is not None
    assert first.secret not in repr(first)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"of": 20}, "alerts.0: expected either failures and within, or successRate and of, found an object"),
        ({"within": None}, "alerts.0: expected either failures and within, or successRate and of, found an object"),
        ({"failures": 101}, "alerts.0.failures: expected a whole number from 1 to 100, found a number"),
        ({"within": "169h"}, "alerts.0.within: expected seconds from 1 to 604800"),
        ({"successRate": 90}, "alerts.0.successRate: expected a number above 0, up to 1, such as 0.9, found a number"),
        ({"secret": "t0p-s3cret"}, "alerts.0.secret: expected whsec_ and the base64 of 24 to 64 random bytes, found"),
        ({"url": "ftp://t0p-s3cret"}, "alerts.0.url: expected an http or https URL"),
        ({"headers": {"x": "t0p-s3cret"}}, "alerts.0.headers: there is no such key in a sink, a webhook or an alert"),
    ],
)
def test_an_alert_that_is_none_is_refused_without_what_it_holds(changed: dict[str, Any], expected: str):
    message = refusal(json.dumps({"alerts": [{"failures": 3, "within": "1h", **ALERT, **changed}]}))
    assert message.startswith(expected)
    assert "t0p" not in message
    assert refusal(json.dumps({"alerts": [ALERT] * 21})).startswith("alerts: expected an array of at most 20 alerts")


@pytest.mark.parametrize("time", ['"13h"', '"15"', '"1d"', "0", "true", "43201", '""'])
def test_a_time_that_is_none_is_refused_with_what_one_looks_like(time: str):
    message = refusal(f'{{"handoffs": {{"maxTimeout": {time}}}}}')
    assert message.startswith(
        'handoffs.maxTimeout: expected seconds from 1 to 43200, or such a time with its unit: "90s"'
    )


@pytest.mark.parametrize(("size", "gib"), [("standard", 2), ("large", 4), ("x-large", 8), ("xlarge", 8)])
def test_memory_follows_the_size(size: str, gib: int):
    assert read(f'{{"replication": {{"size": "{size}"}}}}').memory_limit == gib * GIB


def nested(path: str, value: Any) -> dict[str, Any]:
    """Settings in which this key has this value."""
    for part in reversed(path.split(".")):
        value = {part: value}
    return value


def whole(low: int, high: int) -> tuple[Callable[[Any], bool], str]:
    """A key that takes whole numbers within these bounds, and how that is said."""

    def is_good(value: Any) -> bool:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and value in range(low, high + 1)

    return is_good, f"a whole number from {low} to {high}"


def is_a(kind: type, value: Any) -> bool:
    return isinstance(value, kind)


SIZES = ("standard", "large", "x-large", "xlarge")
FLAG = (partial(is_a, bool), "true or false")
LOGIN = '"API" or "MANUAL"'


def is_number(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


INTERVAL: tuple[Callable[[Any], bool], str] = (
    lambda value: is_number(value, 0, 86_400) or value == "2h",
    "seconds from 0 to 86400, or a text",
)
KEYS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "projectName": (lambda value: isinstance(value, str) and is_project_name(value), ""),
    **dict.fromkeys(("replication.maxConcurrentRequests", "replication.maxCount"), whole(1, 1000)),
    "replication.minCount": whole(0, 1000),
    "replication.maxQueued": whole(1, 1_000_000),
    "replication.size": (lambda value: value in SIZES, '"standard", "large" or "x-large"'),
    **dict.fromkeys(("apiAccess.enabled", "authSessions.saveBack", "headful", "allowFileUrls", "proxy.enabled"), FLAG),
    "authSessions.type": (lambda value: value in ("API", "MANUAL"), LOGIN),
    "authSessions.secretParameters": (
        lambda value: isinstance(value, list) and all(isinstance(name, str) and name for name in value),
        "a list of names of parameters",
    ),
    "browserSize.width": whole(200, 3840),
    "browserSize.height": whole(200, 2160),
    "defaults.retry.maximumAttempts": whole(1, 100),
    "defaults.retry.backoffCoefficient": (lambda value: is_number(value, 1, 100), "a number from 1 to 100"),
    **dict.fromkeys(("defaults.retry.initialInterval", "defaults.retry.maximumInterval"), INTERVAL),
    "defaults.requestTimeout": whole(1, 43_200),
    "defaults.queueTimeout": whole(1, 604_800),
    "defaults.authSession.lease": (lambda value: value == "exclusive", '"exclusive"'),
}


WORDS = st.sampled_from(["API", "large", "a-b", "2h", "exclusive", ""])


@given(
    st.sampled_from(sorted(KEYS)),
    anything | st.integers(-10, 4000) | st.integers(0, 1001).map(float) | WORDS,
)
def test_every_key_takes_what_it_should_and_nothing_else(path: str, value: Any):
    is_good, expected = KEYS[path]
    text = json.dumps(nested(path, value))
    if value is None or is_good(value):
        read(text)
    else:
        assert refusal(text).startswith(f"{path}: expected {expected}")


@pytest.mark.parametrize(
    ("value", "found"),
    [
        *(("3", '"3"'), (True, "true"), (1.5, "1.5"), (-1, "-1"), ([1], "a list"), ({}, "an object")),
        *((math.nan, "a number that is not finite"), ("x" * 100, f'"{"x" * 76}…')),
    ],
)
def test_a_wrong_value_is_refused_with_file_key_and_what_was_found(value: Any, found: str):
    message = refusal(json.dumps(nested("replication.maxCount", value)))
    assert message == f"replication.maxCount: expected a whole number from 1 to 1000, found {found}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"apiAccess": true}', "apiAccess: expected an object, found true"),
        ('{"projectName": 3}', "projectName: expected text, found 3"),
        ('{"projectName": "My Shop"}', f'projectName: expected a project name ({NAME_RULE}), found "My Shop"'),
        (
            '{"authSessions": {"enabled": true}}',
            f"authSessions.type: expected {LOGIN}, as authSessions.enabled is true, found nothing",
        ),
        ("[]", "expected an object, found a list"),
        ("null", "expected an object, found null"),
        ("", "expected a JSON object, found an empty file"),
        ('{"a": 1,\n "b" 2}', "expected JSON, found an unexpected '2' in line 2, column 6"),
        (
            '{"a": 1\n "b": 2}',
            "expected JSON, found an unexpected '\"' in line 2, column 2, before which a comma may be missing",
        ),
        ('{"a": "x\n"}', "expected JSON, found an unexpected end of line in line 1, column 9"),
        ('{"a": 1', "expected JSON, found an unexpected end of input in line 1, column 8"),
        ("[" * 5000, "expected JSON, found too many levels of objects and lists"),
        (b'{"projectName": "\xff"}', "expected text in UTF-8, found another byte at 17"),
        (" " * (1024 * 1024 + 1), "expected settings of at most 131,072 bytes, found more"),
    ],
)
def test_what_is_no_settings_file_is_refused_with_what_is_wrong(text: str | bytes, message: str):
    assert refusal(text) == message


def test_the_error_carries_its_parts_for_programs():
    with pytest.raises(SettingsError) as error:
        read('{"headful": 1}')
    assert error.value.details == {
        "file": "Intuned.jsonc",
        "path": "headful",
        "expected": "expected true or false, found 1",
    }


def test_names_of_models_are_no_keys_of_files():
    assert read('{"replication": {"max_concurrent_requests": 7}, "project_name": "x"}') == ProjectSettings()


def test_settings_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        read("{}").headful = True  # pyright: ignore[reportAttributeAccessIssue]


@given(anything)
def test_any_json_is_read_or_refused_in_words(value: Any):
    try:
        read(json.dumps(value))
    except SettingsError as error:
        error.message.encode()


def test_the_project_is_named_by_its_settings_else_by_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "shop").mkdir()
    assert resolve_project_name(tmp_path / "shop", read('{"projectName": "other"}')) == "other"
    assert resolve_project_name(tmp_path / "shop", read("{}")) == "shop"
    monkeypatch.chdir(tmp_path / "shop")
    assert resolve_project_name(Path(), read("{}")) == "shop"
    (tmp_path / "link").symlink_to("shop")
    assert resolve_project_name(tmp_path / "link", read("{}")) == "link"


def test_a_folder_with_a_bad_name_is_refused_with_what_to_do(tmp_path: Path):
    with pytest.raises(ProjectError) as error:
        resolve_project_name(tmp_path / "My Shop", read("{}"))
    assert error.value.message == (
        f"{tmp_path}/My Shop: the folder's name 'My Shop' cannot be a project's name ({NAME_RULE}). "
        "Set projectName in the settings file, or rename the folder."
    )


@given(st.from_regex(r"[a-z0-9_-]{1,202}", fullmatch=True) | st.text(max_size=8))
@example("a" * 200)
@example("a" * 201)
@example("a--b")
@example("a_")
@example("a\n")
@example("é")
@example("0" * 32)  # a UUID, as which paths may name a project
@example(f"{'0' * 8}-0000-0000-0000-{'0' * 12}")
def test_a_project_name_is_lower_case_with_single_signs_between(name: str):
    single = re.fullmatch(r"[a-z0-9]+([-_][a-z0-9]+)*", name) is not None
    is_uuid = re.fullmatch(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", name) is not None
    assert is_project_name(name) == (single and len(name) <= 200 and not is_uuid)


SINK_KEYS = ["type", "url", "headers", "bucket", "accessKeyId", "secretAccessKey", "region", "apisToSend", "skipOnFail"]


@given(st.dictionaries(st.sampled_from(SINK_KEYS) | st.text(), anything), st.sampled_from(["webhook", "s3", "x", None]))
def test_any_sink_is_read_or_refused_in_words(sink: dict[str, Any], kind: str | None):
    sink = sink if kind is None else {**sink, "type": kind}
    try:
        read(json.dumps({"defaults": {"sink": {"dev": sink}}}))
    except SettingsError as error:
        error.message.encode()


def test_a_key_that_is_no_unicode_can_be_spoken_of(tmp_path: Path):
    (tmp_path / "Intuned.json").write_text(r'{"apiAccess\ud800": 1}')
    (said,) = read_settings_file(tmp_path).ignored
    assert said == r"apiAccess\ud800: ignored, as there is no such key; is apiAccess meant?"
    (tmp_path / "Intuned.json").write_text(r'{"defaults": {"sink": {"dev": {"type": "webhook", "\ud800": 1}}}}')
    with pytest.raises(SettingsError) as error:
        read_settings(tmp_path)
    error.value.message.encode()


def test_the_region_of_a_sink_may_be_left_out():
    sink = {"type": "s3", "bucket": "b", "accessKeyId": "a", "secretAccessKey": "s"}
    assert read(json.dumps({"defaults": {"sink": {"dev": sink, "deployed": {**sink, "region": "eu"}}}}))
