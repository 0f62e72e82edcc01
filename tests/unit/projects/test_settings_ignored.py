"""What a project asks for and does not get is said once, in words, without its secrets."""

import json
from pathlib import Path
from typing import Any

import pytest

from callboard.projects.project_settings import ProjectSettings
from callboard.projects.settings_file import SettingsFile, read_settings_file
from callboard.schemas.errors import SettingsError

SECRET = "t0p-s3cret"
PROXY = f"http://user:{SECRET}@proxy.example:3128"
AUTO = "intuned://auto"
"""Stands for a proxy of the platform; it counts as none."""
WEBHOOK = {"type": "webhook", "url": f"https://hook.example/?token={SECRET}"}
S3 = {"type": "s3", "bucket": "b", "accessKeyId": "AK", "secretAccessKey": SECRET}


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def read(**settings: Any) -> SettingsFile:
        (tmp_path / "Intuned.json").write_text(json.dumps(settings))
        return read_settings_file(tmp_path)

    return read


PLATFORM = "ignored, as intuned://auto stands for a proxy of Intuned's platform, and Callboard has none"
NO_PROXY = "ignored, as proxy.enabled is true, but neither proxy.dev nor proxy.deployed names a proxy"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"stealthMode": {"enabled": True}}, ["stealthMode: ignored, as stealth is out of scope"]),
        ({"stealthMode": True}, ["stealthMode: ignored, as stealth is out of scope"]),
        ({"captchaSolver": {"enabled": True}}, ["captchaSolver: ignored, as captcha solving is out of scope"]),
        (
            {"captchaSolver": {"hcaptcha": {"enabled": True}, "settings": {"autoSolve": True}}},
            ["captchaSolver: ignored, as captcha solving is out of scope"],
        ),
        ({"region": "de"}, ["region: ignored, as Runs are executed wherever the workers are"]),
        ({"replication": {"minCount": 2}}, ["replication.minCount: ignored, as Machines are started on demand"]),
        (
            {"authSessions": {"finishUrl": "https://shop.example/home"}},
            ["authSessions.finishUrl: ignored, as a person says when a login is done"],
        ),
        (
            {"authSessions": {"browserMode": "kiosk"}},
            ["authSessions.browserMode: ignored, as a login is recorded in the browser of a Machine"],
        ),
        (
            {"authSessions": {"saveTraces": True}},
            ["authSessions.saveTraces: ignored, as whether to save a trace is said by each start, in saveTrace"],
        ),
        ({"proxy": {"enabled": True}}, [f"proxy: {NO_PROXY}"]),
        *(({"proxy": {each: AUTO}}, [f"proxy.{each}: {PLATFORM}"]) for each in ("dev", "deployed")),
        ({"defaults": {"proxy": AUTO}}, [f"defaults.proxy: {PLATFORM}"]),
    ],
)
def test_what_is_asked_for_and_not_to_be_had_is_said_once(read: Any, settings: Any, said: list[str]):
    assert list(read(**settings).ignored) == said


@pytest.mark.parametrize(
    ("settings", "key", "meant"),
    [
        ({"foo": 1}, "foo", None),
        ({"enabled": True}, "enabled", None),
        ({"apiAcess": {"enabled": False}}, "apiAcess", "apiAccess"),
        ({"authSession": {"enabled": True}}, "authSession", "authSessions"),
        ({"authSessions": {"secretParameter": ["answer"]}}, "authSessions.secretParameter", "secretParameters"),
        ({"replication": {"maxConcurrentRequest": 3}}, "replication.maxConcurrentRequest", "maxConcurrentRequests"),
        ({"defaults": {"retry": {"maxAttempts": 3}}}, "defaults.retry.maxAttempts", "maximumAttempts"),
        ({"requestTimeout": 60}, "requestTimeout", "defaults.requestTimeout"),
        ({"defaults": {"maxQueued": 9}}, "defaults.maxQueued", "replication.maxQueued"),
    ],
)
def test_a_key_that_there_is_not_is_said_with_where_it_may_belong(
    read: Any, settings: Any, key: str, meant: str | None
):
    hint = f"; is {meant} meant?" if meant else ""
    assert read(**settings).ignored == (f"{key}: ignored, as there is no such key{hint}",)


@pytest.mark.parametrize(
    "settings",
    [
        {"version": "2.0", "workspaceId": "x", "metadata": {"template": {"name": "a"}, "tags": []}},
        {"stealthMode": {"enabled": False}, "captchaSolver": {"enabled": False, "hcaptcha": {"enabled": True}}},
        {"stealthMode": None, "captchaSolver": {}, "region": None, "proxy": {"enabled": False}},
        {"captchaSolver": {"settings": {"autoSolve": True, "maxRetries": 3}}},
        {"replication": {"minCount": 0, "maxCount": 3, "size": "large"}},
        {"authSessions": {"enabled": False, "saveTraces": False}},
        {"authSessions": {"saveBack": False, "secretParameters": ["answer"]}},
        {"proxy": {"dev": PROXY, "deployed": PROXY}, "defaults": {"proxy": PROXY, "sink": None}},
        {"defaults": {"sink": {"dev": WEBHOOK, "deployed": S3}}},
        {"$schema": "https://x.example/settings.json"},
    ],
)
def test_what_changes_nothing_is_not_spoken_of(read: Any, settings: Any):
    assert read(**settings).ignored == ()


@pytest.mark.parametrize(
    ("settings", "dev", "deployed"),
    [
        ({}, None, None),
        ({"proxy": {"dev": "http://a"}}, "http://a", None),
        ({"proxy": {"deployed": "http://b"}}, None, "http://b"),
        ({"proxy": {"dev": "http://a", "deployed": "http://b"}}, "http://a", "http://b"),
        ({"proxy": {"dev": "http://a", "deployed": "http://b", "enabled": True}}, "http://a", "http://b"),
        ({"proxy": {"dev": "http://a", "deployed": "http://b", "enabled": False}}, None, None),
        ({"proxy": {"dev": "http://a", "deployed": "http://b"}, "defaults": {"proxy": "http://c"}}, *["http://c"] * 2),
        ({"proxy": {"enabled": False}, "defaults": {"proxy": "http://c"}}, "http://c", "http://c"),
        ({"proxy": {"dev": AUTO, "deployed": "http://b"}, "defaults": {"proxy": AUTO}}, None, "http://b"),
    ],
)
def test_the_proxy_of_the_defaults_goes_before_that_of_the_environment(
    read: Any, settings: Any, dev: str | None, deployed: str | None
):
    read_settings = read(**settings).settings
    assert (read_settings.proxy_in("dev"), read_settings.proxy_in("deployed")) == (dev, deployed)


NAMES = "expected a list of names of parameters"
PROXY_URL = "expected a proxy URL such as http://user:password@host:port, with scheme http, https or socks5"
OBJECT, TEXT = "expected an object", "another text"


@pytest.mark.parametrize(
    ("path", "value", "expected", "found"),
    [
        ("proxy", PROXY, OBJECT, TEXT),
        ("proxy.dev", f"ftp://u:{SECRET}@h", PROXY_URL, TEXT),
        ("proxy.deployed", {"server": PROXY}, PROXY_URL, "an object"),
        ("proxy.deployed", 8080, PROXY_URL, "a number"),
        ("proxy.enabled", PROXY, "expected true or false", TEXT),
        ("authSessions.secretParameters", SECRET, NAMES, TEXT),
        ("authSessions.secretParameters", ["answer", 3], NAMES, "a list"),
        ("defaults", PROXY, OBJECT, TEXT),
        ("defaults.proxy", SECRET, PROXY_URL, TEXT),
        ("defaults.retry.maximumAttempts", 101, "expected a whole number from 1 to 100", "101"),
        ("defaults.sink", SECRET, OBJECT, TEXT),
        ("defaults.sink.dev", SECRET, OBJECT, TEXT),
        ("defaults.sink.dev.type", SECRET, 'expected "webhook" or "s3"', TEXT),
    ],
)
def test_what_may_hold_a_secret_is_refused_without_being_repeated(
    read: Any, path: str, value: Any, expected: str, found: str
):
    for part in reversed(path.split(".")):
        value = {part: value}
    assert refusal(read, value) == f"{path}: {expected}, found {found}"


@pytest.mark.parametrize(
    ("sink", "message"),
    [
        ({"url": SECRET}, '.type: expected "webhook" or "s3", found nothing'),
        ({"type": "webhook"}, ".url: expected a value, as this key is required, found nothing"),
        (
            {**WEBHOOK, "url": SECRET},
            ".url: expected an http or https URL with a host, at most 2048 characters, found another text",
        ),
        (
            {**S3, "secretAccessKey": 12345678},
            (
                ".secretAccessKey: expected a text of 1 to 2048 characters, without blanks and all of ASCII, "
                "found a number"
            ),
        ),
        ({**S3, "token": SECRET}, ".token: there is no such key in a sink, a webhook or an alert"),
        ({**S3, "apisToSend": [3]}, ".apisToSend.0: expected the name of an API, its path below api/, found a number"),
    ],
)
def test_a_sink_that_is_none_is_refused_without_being_repeated(read: Any, sink: Any, message: str):
    assert refusal(read, {"defaults": {"sink": {"deployed": sink}}}) == f"defaults.sink.deployed{message}"


def refusal(read: Any, settings: Any) -> str:
    """The sentence with which these settings are refused, which repeats no secret."""
    with pytest.raises(SettingsError) as error:
        read(**settings)
    chain = [error.value, error.value.__cause__]
    assert SECRET not in repr([str(link) for link in chain])
    assert SECRET not in repr(error.value.details)
    return error.value.message.removeprefix("Intuned.json: ")


@pytest.mark.parametrize(
    ("sinks", "dev", "deployed"),
    [
        (None, None, None),
        ({}, None, None),
        ({"deployed": S3}, "s3", "s3"),
        ({"dev": WEBHOOK}, "webhook", None),
        ({"dev": WEBHOOK, "deployed": S3}, "webhook", "s3"),
    ],
)
def test_the_sink_is_that_of_its_environment_and_in_dev_else_the_other(
    read: Any, sinks: Any, dev: str | None, deployed: str | None
):
    settings = read(defaults={"sink": sinks}).settings
    found = [settings.sink_in(environment) for environment in ("dev", "deployed")]
    assert [sink and sink.type for sink in found] == [dev, deployed]


def test_no_secret_is_printed_and_sinks_are_kept_with_theirs(read: Any):
    file = read(
        proxy={"dev": PROXY, "deployed": PROXY},
        defaults={"proxy": PROXY, "sink": {"dev": WEBHOOK, "deployed": S3}},
        captchaSolver={"enabled": SECRET},
        region=SECRET,
    )
    assert SECRET not in repr(file)
    stored = file.settings.model_dump_json(by_alias=True, exclude_none=True)
    assert json.loads(stored)["proxy"]["deployed"] == PROXY
    assert ProjectSettings.model_validate_json(stored) == file.settings
    assert file.settings.sink_in("deployed").secret_access_key == SECRET


def test_all_that_is_wrong_is_told_at_once(read: Any):
    with pytest.raises(SettingsError) as refused:
        read(headful="yes", replication={"maxCount": 0}, defaults={"sink": {"deployed": {"type": "webhook", "url": 1}}})
    assert refused.value.message == (
        "Intuned.json: replication.maxCount: expected a whole number from 1 to 1000, found 0; "
        'headful: expected true or false, found "yes"; '
        "defaults.sink.deployed.url: expected an http or https URL with a host, at most 2048 characters, found a number"
    )
