"""What an operator may set."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ValidationError

from callboard.settings import Settings


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Settings.model_fields:
        monkeypatch.delenv(f"CALLBOARD_{field.upper()}", raising=False)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("90", timedelta(seconds=90)),
        ("0.5", timedelta(milliseconds=500)),
        ("90s", timedelta(seconds=90)),
        ("5m", timedelta(minutes=5)),
        ("1.5h", timedelta(minutes=90)),
        ("7 d", timedelta(days=7)),
    ],
)
def test_a_duration_is_a_number_of_seconds_or_has_a_unit(
    monkeypatch: pytest.MonkeyPatch, given: str, meant: timedelta
) -> None:
    monkeypatch.setenv("CALLBOARD_DRAIN", given)
    assert Settings().drain == meant


@pytest.mark.parametrize("given", ["soon", "-3", "inf", "nan", "7 weeks", "d", ""])
def test_what_is_no_duration_is_refused(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("CALLBOARD_DRAIN", given)
    with pytest.raises(ValidationError, match=r"drain\n.*must be a number of seconds, or a duration such as 90s"):
        Settings()


def test_artifacts_are_kept_a_day_longer_than_runs_unless_it_is_said() -> None:
    assert Settings().artifacts_kept == timedelta(days=8)
    assert Settings(run_retention=timedelta(days=30)).artifacts_kept == timedelta(days=31)
    assert Settings(artifact_retention=timedelta(days=90)).artifacts_kept == timedelta(days=90)


def test_a_run_that_is_known_has_its_artifacts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLBOARD_RUN_RETENTION", "30d")
    monkeypatch.setenv("CALLBOARD_ARTIFACT_RETENTION", "29d")
    with pytest.raises(ValidationError, match="must not be shorter than CALLBOARD_RUN_RETENTION"):
        Settings()


def test_temporal_keeps_nothing_for_less_than_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLBOARD_RUN_RETENTION", "59m")
    with pytest.raises(ValidationError, match="run_retention"):
        Settings()


@pytest.mark.parametrize("given", ["127.0.0.1:9464", "[::1]:9464", "0.0.0.0:1", "metrics.internal:65535"])
def test_an_address_to_listen_on_has_host_and_port(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("CALLBOARD_METRICS_ADDRESS", given)
    monkeypatch.setenv("CALLBOARD_HEALTH_ADDRESS", given)
    assert (Settings().metrics_address, Settings().health_address) == (given, given)


@pytest.mark.parametrize("given", ["", "9464", ":9464", "host", "host:", "host:0", "host:65536", "::1:9464", "h:٣"])
def test_what_is_no_address_to_listen_on_is_refused(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("CALLBOARD_METRICS_ADDRESS", given)
    with pytest.raises(ValidationError, match="must be a host and a port, such as"):
        Settings()


def test_what_sinks_may_lead_to_is_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLBOARD_EGRESS_ALLOW", "10.1.0.0/16, receiver.internal,")
    assert Settings().egress_allow == ["10.1.0.0/16", "receiver.internal"]
    assert Settings(egress_allow=[]).egress_allow == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DELIVERY_TIMEOUT", "0"),
        ("DELIVERY_TIMEOUT", "11m"),
        ("DELIVERY_GIVE_UP_AFTER", "0"),
    ],
)
def test_a_schedule_that_cannot_be_kept_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"CALLBOARD_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


@pytest.mark.parametrize(
    ("given", "listens_on"),
    [({}, 8410), ({"port": 9000}, 9010), ({"port": 0}, 0), ({"port": 65530}, 0), ({"port": 9000, "viewer_port": 0}, 0)],
)
def test_the_trace_viewer_has_a_port_of_its_own(given: dict[str, int], listens_on: int) -> None:
    assert Settings.model_validate(given).viewer_listens_on == listens_on


@pytest.mark.parametrize("given", ["https://t.example/trace", "t.example/{trace_id}", "javascript:{trace_id}", ""])
def test_an_address_of_traces_has_a_place_for_their_id(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("CALLBOARD_OTEL_TRACE_URL", given)
    with pytest.raises(ValidationError, match=r"with \{trace_id\} in place of the id"):
        Settings()


@pytest.mark.parametrize("given", ["https://proxy.example/callboard", "callboard.example", "https://me:it@x", ""])
def test_the_address_for_people_is_a_host_without_a_path(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("CALLBOARD_PUBLIC_URL", given)
    with pytest.raises(ValidationError, match="public_url"):
        Settings()
    for good in ("https://callboard.example/", "http://127.0.0.1:8400", "http://[::1]:8400"):
        monkeypatch.setenv("CALLBOARD_PUBLIC_URL", good)
        assert Settings().public_url == good
