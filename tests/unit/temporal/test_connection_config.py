"""How Callboard's settings and Temporal's own configuration make one connection, and what is refused."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from callboard.schemas.errors import ConfigurationError
from callboard.settings import Settings
from callboard.temporal.connection_config import Connection, find_connection
from tests.support.certificates import Authority, Signed

SECRET = "t0p-s3cret-api-key"


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith(("TEMPORAL_", "CALLBOARD_TEMPORAL_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))  # no profiles
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def profiles(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> Path:
    file = folder / "temporal.toml"
    file.write_text(text)
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(file))
    return file


def use_certificate(monkeypatch: pytest.MonkeyPatch, certificate: Path, key: Path) -> None:
    monkeypatch.setenv("TEMPORAL_TLS_CLIENT_CERT_PATH", str(certificate))
    monkeypatch.setenv("TEMPORAL_TLS_CLIENT_KEY_PATH", str(key))


def refusal() -> str:
    with pytest.raises(ConfigurationError) as refused:
        find_connection(Settings())
    assert SECRET not in refused.value.message
    return refused.value.message


def test_without_anything_it_is_a_plain_one_to_this_host() -> None:
    found = find_connection(Settings())
    assert found == Connection("127.0.0.1:7233", "default")
    assert str(found) == "127.0.0.1:7233, namespace default (plain, without TLS)"
    assert not found.leaves_this_host


def test_callboards_settings_come_first_then_variables_then_the_profile(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = '[profile.default]\naddress = "file:1"\nnamespace = "of-file"\n[profile.other]\nnamespace = "of-other"\n'
    profiles(monkeypatch, tmp_path, text)
    assert find_connection(Settings()) == Connection("file:1", "of-file")
    monkeypatch.setenv("TEMPORAL_PROFILE", "other")
    assert find_connection(Settings()) == Connection("127.0.0.1:7233", "of-other")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "variable:2")
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "of-variable")
    assert find_connection(Settings()) == Connection("variable:2", "of-variable")
    monkeypatch.setenv("CALLBOARD_TEMPORAL_ADDRESS", "callboard:3")
    assert find_connection(Settings()) == Connection("callboard:3", "of-variable")
    monkeypatch.setenv("CALLBOARD_TEMPORAL_NAMESPACE", "of-callboard")
    assert find_connection(Settings()) == Connection("callboard:3", "of-callboard")


def test_the_default_file_of_profiles_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "home" / ".config" / "temporalio"
    folder.mkdir(parents=True)
    (folder / "temporal.toml").write_text('[profile.default]\nnamespace = "of-home"\n')
    assert find_connection(Settings()).namespace == "of-home"
    monkeypatch.setenv("CALLBOARD_TEMPORAL_ENVIRONMENT_CONFIG", "false")
    assert find_connection(Settings()).namespace == "default"


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ADDRESS", "NAMESPACE", "API_KEY", "TLS", "PROFILE", "CONFIG_FILE", "TLS_CLIENT_CERT_PATH"):
        monkeypatch.setenv(f"TEMPORAL_{name}", "")
    assert find_connection(Settings()) == Connection("127.0.0.1:7233", "default")


def test_an_api_key_is_sent_by_tls_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_API_KEY", SECRET)
    monkeypatch.setenv("TEMPORAL_GRPC_META_X_TEAM", SECRET)
    monkeypatch.setenv("TEMPORAL_GRPC_META_TEMPORAL_NAMESPACE", "default")  # the SDK adds it where it belongs
    found = find_connection(Settings(temporal_address="temporal.example:7233"))
    assert (found.api_key, found.metadata) == (SECRET, {"x-team": SECRET})
    assert found.tls is not None
    assert found.kind == "TLS, with an API key"
    assert SECRET not in f"{found!r} {found}"
    assert found.leaves_this_host


def test_tls_is_off_when_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_API_KEY", SECRET)
    monkeypatch.setenv("TEMPORAL_TLS", "false")
    assert find_connection(Settings()).kind == "plain, without TLS, with an API key"


def test_a_client_certificate_is_read_with_its_authority(monkeypatch: pytest.MonkeyPatch, authority: Authority) -> None:
    client = authority.sign("client")
    use_certificate(monkeypatch, client.certificate, client.key)
    monkeypatch.setenv("TEMPORAL_TLS_SERVER_CA_CERT_DATA", authority.file.read_text())
    monkeypatch.setenv("TEMPORAL_TLS_SERVER_NAME", "temporal.example")
    found = find_connection(Settings())
    assert found.tls is not None
    assert (found.tls.client_cert, found.tls.client_private_key, found.tls.server_root_ca_cert, found.tls.domain) == (
        client.certificate.read_bytes(),
        client.key.read_bytes(),
        authority.file.read_bytes(),
        "temporal.example",
    )
    assert found.kind == "TLS with a client certificate"
    assert found.certificate_ends is not None
    assert b"PRIVATE KEY" not in repr(found).encode()


@pytest.mark.parametrize("address", ["https://temporal:7233", "temporal", "temporal:", "[::1]", "a b:1", "::1:7233"])
def test_what_is_no_host_and_port_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("CALLBOARD_TEMPORAL_ADDRESS", address)
    assert refusal().startswith("CALLBOARD_TEMPORAL_ADDRESS must be a host and a port, such as temporal:7233")
    monkeypatch.delenv("CALLBOARD_TEMPORAL_ADDRESS")
    monkeypatch.setenv("TEMPORAL_ADDRESS", address)
    assert refusal().startswith("the address in Temporal's configuration must be")


@pytest.mark.parametrize("address", ["[::1]:7233", "127.8.9.1:1", "localhost:7233"])
def test_an_address_of_loopback_does_not_leave_this_host(address: str) -> None:
    assert not find_connection(Settings(temporal_address=address)).leaves_this_host


def test_a_file_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(missing))
    assert refusal() == f"TEMPORAL_CONFIG_FILE names {missing}, and there is no such file."


def test_a_profile_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = profiles(monkeypatch, tmp_path, "[profile.default]\n")
    monkeypatch.setenv("TEMPORAL_PROFILE", "prod")
    message = refusal()
    assert "Profile 'prod' not found" in message
    assert str(file) in message


@pytest.mark.parametrize(
    "text", [f"[profile.default]\napi_key = {SECRET}\n", f'[profile.default\napi_key = "{SECRET}"\n']
)
def test_a_file_that_is_no_toml_is_refused_by_its_line_without_a_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    profiles(monkeypatch, tmp_path, text)
    assert "the file of profiles is not right at line " in refusal()


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"TEMPORAL_TLS": "maybe"}, "TEMPORAL_TLS must be true or false."),
        ({"TEMPORAL_TLS_DISABLE_HOST_VERIFICATION": "true"}, "always verifies the certificate"),
        ({"TEMPORAL_API_KEY": f"{SECRET}\n"}, "a character in it that no key has"),
        ({"TEMPORAL_TLS_CLIENT_CERT_PATH": "x", "TEMPORAL_TLS_CLIENT_CERT_DATA": "y"}, "Cannot specify both"),
        ({"TEMPORAL_TLS_SERVER_CA_CERT_PATH": "/no/where"}, "cannot be read from /no/where (No such file"),
        ({"TEMPORAL_TLS_SERVER_CA_CERT_DATA": SECRET}, "TEMPORAL_TLS_SERVER_CA_CERT_DATA, or the data in a profile"),
    ],
)
def test_a_variable_that_is_wrong_is_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], words: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert words in refusal()


def test_a_certificate_that_cannot_be_used_is_refused(
    monkeypatch: pytest.MonkeyPatch, authority: Authority, tmp_path: Path
) -> None:
    mine, other = authority.sign("mine"), authority.sign("other")
    ended = authority.sign("ended", valid=-timedelta(days=1))
    nonsense = Signed(tmp_path / "nonsense.pem", tmp_path / "nonsense.key")
    for file in (nonsense.certificate, nonsense.key):
        file.write_text(SECRET)
    use_certificate(monkeypatch, nonsense.certificate, mine.key)
    assert refusal() == f"The client certificate for Temporal ({nonsense.certificate}) is not a certificate in PEM."
    use_certificate(monkeypatch, mine.certificate, nonsense.key)
    assert f"({nonsense.key}) is not a private key in PEM without a password." in refusal()
    use_certificate(monkeypatch, mine.certificate, other.key)
    assert f"({other.key}) is not that of the certificate ({mine.certificate})." in refusal()
    use_certificate(monkeypatch, ended.certificate, ended.key)
    assert f"({ended.certificate}) has expired on " in refusal()
    monkeypatch.delenv("TEMPORAL_TLS_CLIENT_KEY_PATH")
    assert "TEMPORAL_TLS_CLIENT_CERT_PATH is set, and TEMPORAL_TLS_CLIENT_KEY_PATH is not" in refusal()
    monkeypatch.delenv("TEMPORAL_TLS_CLIENT_CERT_PATH")
    monkeypatch.setenv("TEMPORAL_TLS_CLIENT_KEY_PATH", str(mine.key))
    assert "TEMPORAL_TLS_CLIENT_KEY_PATH is set, and TEMPORAL_TLS_CLIENT_CERT_PATH is not" in refusal()


def test_what_is_not_read_is_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_TLS_CLIENT_CERT_PATH", "/no/where")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "cloud:7233")
    off = Settings(temporal_environment_config=False)
    assert find_connection(off) == Connection("127.0.0.1:7233", "default")
