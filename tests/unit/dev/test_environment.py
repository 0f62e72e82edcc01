from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from callboard.dev.environment import build_environment
from callboard.settings import Settings

secrets = st.lists(
    st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=","), min_size=1).map(SecretStr)
)


def settings_from(environment: dict[str, str]) -> Settings:
    with pytest.MonkeyPatch.context() as patch:
        for field in Settings.model_fields:
            patch.delenv(f"CALLBOARD_{field.upper()}", raising=False)
        for name, value in environment.items():
            if name.startswith("CALLBOARD_"):
                patch.setenv(name, value)
        return Settings()


@given(
    api_keys=secrets,
    secret_key=secrets,
    workspace_id=st.uuids(),
    port=st.integers(0, 65535),
    drain=st.integers(0, 10**9).map(lambda ms: timedelta(milliseconds=ms)),
    ready_needs_workers=st.booleans(),
)
def test_a_child_reads_back_the_settings_of_its_parent(
    api_keys: list[SecretStr],
    secret_key: list[SecretStr],
    workspace_id: UUID,
    port: int,
    drain: timedelta,
    ready_needs_workers: bool,
):
    settings = Settings(
        api_keys=api_keys,
        secret_key=secret_key,
        workspace_id=workspace_id,
        port=port,
        drain=drain,
        ready_needs_workers=ready_needs_workers,
        data_dir=Path("/some where/data"),
    )
    assert settings_from(build_environment(settings)) == settings


def test_what_the_environment_says_otherwise_does_not_reach_a_child(monkeypatch: pytest.MonkeyPatch):
    settings = Settings(port=1, artifacts=None)
    monkeypatch.setenv("CALLBOARD_PORT", "2")
    monkeypatch.setenv("CALLBOARD_ARTIFACTS", "/elsewhere")
    monkeypatch.setenv("CALLBOARD_USER_GREETING", "hello")
    environment = build_environment(settings)
    assert environment["CALLBOARD_PORT"] == "1"
    assert "CALLBOARD_ARTIFACTS" not in environment
    assert environment["CALLBOARD_USER_GREETING"] == "hello"


def test_a_child_gets_nothing_of_the_configuration_of_another_temporal(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TEMPORAL_API_KEY", "a-key-of-another-temporal")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "shop.abc12.tmprl.cloud:7233")
    environment = build_environment(Settings(temporal_environment_config=False))
    assert [name for name in environment if name.startswith("TEMPORAL_")] == []
    assert settings_from(environment).temporal_environment_config is False
