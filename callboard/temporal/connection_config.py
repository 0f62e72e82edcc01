"""Find out how to connect to Temporal, from Callboard's settings and from Temporal's own configuration.

Temporal's own configuration are the variables `TEMPORAL_*` and the profiles in a TOML file, which all of its tools read
in the same way (`temporalio.envconfig`). The two settings of Callboard come before it.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from temporalio.envconfig import ClientConfigProfile, ClientConfigTLS, DataSource
from temporalio.service import TLSConfig

from callboard.schemas.errors import ConfigurationError
from callboard.settings import Settings

_DEFAULT_ADDRESS = "127.0.0.1:7233"
_DEFAULT_NAMESPACE = "default"
_PREFIX = "TEMPORAL_"
_BOOLEANS = {"true", "false", "1", "0"}
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):\d{1,5}")
_POSITION_IN_TOML = re.compile(r"TOML parse error at (line \d+, column \d+)")
_CERTIFICATE_VARIABLES = ("TEMPORAL_TLS_CLIENT_CERT_PATH", "TEMPORAL_TLS_CLIENT_CERT_DATA")
_KEY_VARIABLES = ("TEMPORAL_TLS_CLIENT_KEY_PATH", "TEMPORAL_TLS_CLIENT_KEY_DATA")
_AUTHORITY_VARIABLES = ("TEMPORAL_TLS_SERVER_CA_CERT_PATH", "TEMPORAL_TLS_SERVER_CA_CERT_DATA")


@dataclass(frozen=True)
class Connection:
    """How a process connects to Temporal. No secret is in its `repr`, nor in what it says of itself."""

    address: str
    """Host and port."""
    namespace: str
    tls: TLSConfig | None = field(default=None, repr=False)
    """None for a plain connection."""
    api_key: str | None = field(default=None, repr=False)
    metadata: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """Metadata that each call has in addition."""
    certificate_ends: datetime | None = None
    """The time at which the client certificate is not valid any more; None without one."""

    @property
    def kind(self) -> str:
        """How it is secured, in words for people."""
        if self.tls is None:
            secured = "plain, without TLS"
        elif self.tls.client_cert is not None:
            secured = "TLS with a client certificate"
        else:
            secured = "TLS"
        return secured if self.api_key is None else f"{secured}, with an API key"

    @property
    def host(self) -> str:
        """The host of the address, without the brackets of an IPv6 address."""
        return self.address.rpartition(":")[0].strip("[]")

    @property
    def leaves_this_host(self) -> bool:
        """Whether calls may go over a network."""
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host != "localhost"

    def __str__(self) -> str:
        return f"{self.address}, namespace {self.namespace} ({self.kind})"


def find_connection(settings: Settings) -> Connection:
    """Return how to connect to Temporal. Files are read; nothing is sent.

    Raises:
        ConfigurationError: A setting or a variable is wrong, or a file or a profile is missing or cannot be used.
    """
    profile = _load_profile() if settings.temporal_environment_config else ClientConfigProfile()
    address, source = settings.temporal_address, "CALLBOARD_TEMPORAL_ADDRESS"
    if address is None:
        address, source = profile.address or _DEFAULT_ADDRESS, "the address in Temporal's configuration"
    if _ADDRESS.fullmatch(address) is None:
        raise ConfigurationError(
            f"{source} must be a host and a port, such as temporal:7233, without a scheme; it is {address!r}."
        )
    tls, certificate_ends = _read_tls(profile)
    return Connection(
        address,
        settings.temporal_namespace or profile.namespace or _DEFAULT_NAMESPACE,
        tls,
        _check_api_key(profile.api_key),
        # The SDK adds the namespace to each call that has one. Elder guides say to set it here, where it would also be
        # in calls that have none, which Temporal Cloud refuses.
        {name: value for name, value in profile.grpc_meta.items() if name != "temporal-namespace"},
        certificate_ends,
    )


def _load_profile() -> ClientConfigProfile:
    # A variable that is empty is as good as none: files for containers pass on what may not be set.
    environment = {name: value for name, value in os.environ.items() if value or not name.startswith(_PREFIX)}
    file = environment.get("TEMPORAL_CONFIG_FILE")
    if file is not None and not Path(file).is_file():
        raise ConfigurationError(f"TEMPORAL_CONFIG_FILE names {file}, and there is no such file.")
    if (flag := environment.get("TEMPORAL_TLS")) is not None and flag.lower() not in _BOOLEANS:
        raise ConfigurationError("TEMPORAL_TLS must be true or false.")
    if environment.get("TEMPORAL_TLS_DISABLE_HOST_VERIFICATION", "false").lower() not in {"false", "0"}:
        raise ConfigurationError(
            "TEMPORAL_TLS_DISABLE_HOST_VERIFICATION is set, and Callboard always verifies the certificate of Temporal."
            " Unset it; if the certificate names another host, set TEMPORAL_TLS_SERVER_NAME, and if it has an authority"
            " of its own, TEMPORAL_TLS_SERVER_CA_CERT_PATH."
        )
    try:
        return ClientConfigProfile.load(override_env_vars=environment)
    except RuntimeError as error:
        place = f"the file {file}" if file is not None else "its file of profiles, if there is one"
        raise ConfigurationError(
            f"Temporal's configuration cannot be used: {_explain(error)} It comes from the variables TEMPORAL_* and"
            f" from {place}."
        ) from None  # The error has lines of the file in it, in which there may be a key.


def _explain(error: RuntimeError) -> str:
    """Return what is wrong with the configuration, without anything that may be a secret."""
    text = str(error)
    if position := _POSITION_IN_TOML.search(text):
        return f"the file of profiles is not right at {position[1]}."
    return f"{text.removeprefix('Invalid configuration: ').partition('\n')[0].rstrip('.')}."


def _check_api_key(key: str | None) -> str | None:
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        raise ConfigurationError(
            "The API key of Temporal (TEMPORAL_API_KEY, or of the profile) has a character in it that no key has, such"
            " as a space or a line end."
        )
    return key or None


def _read_tls(profile: ClientConfigProfile) -> tuple[TLSConfig | None, datetime | None]:
    """Return how to use TLS, and when the client certificate ends. An API key alone asks for TLS, too."""
    tls = profile.tls
    if tls is None:
        return (TLSConfig() if profile.api_key else None), None
    if tls.disabled:
        return None, None
    authority = _read("certificate of the authority", tls.server_root_ca_cert, _AUTHORITY_VARIABLES)
    if authority is not None:
        _parse_certificates("certificate of the authority", authority, tls.server_root_ca_cert, _AUTHORITY_VARIABLES)
    certificate, key, ends = _read_client_certificate(tls)
    return TLSConfig(authority, tls.server_name, certificate, key), ends


def _read_client_certificate(tls: ClientConfigTLS) -> tuple[bytes | None, bytes | None, datetime | None]:
    certificate = _read("client certificate", tls.client_cert, _CERTIFICATE_VARIABLES)
    key = _read("key of the client certificate", tls.client_private_key, _KEY_VARIABLES)
    if certificate is None and key is None:
        return None, None, None
    if certificate is None or key is None:
        given, missing = _CERTIFICATE_VARIABLES[0], _KEY_VARIABLES[0]
        if certificate is None:
            given, missing = missing, given
        raise ConfigurationError(
            f"A client certificate for Temporal needs its key. {given} is set, and {missing} is not, nor in a profile."
        )
    parsed = _parse_certificates("client certificate", certificate, tls.client_cert, _CERTIFICATE_VARIABLES)[0]
    try:
        parsed_key = load_pem_private_key(key, None)
    except (ValueError, TypeError):
        raise ConfigurationError(
            f"The key of the client certificate for Temporal ({_place(tls.client_private_key, _KEY_VARIABLES)}) is not"
            " a private key in PEM without a password."
        ) from None
    encoding = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if parsed.public_key().public_bytes(*encoding) != parsed_key.public_key().public_bytes(*encoding):
        raise ConfigurationError(
            f"The key of the client certificate for Temporal ({_place(tls.client_private_key, _KEY_VARIABLES)}) is not"
            f" that of the certificate ({_place(tls.client_cert, _CERTIFICATE_VARIABLES)})."
        )
    ends = parsed.not_valid_after_utc
    if ends <= datetime.now(UTC):
        raise ConfigurationError(
            f"The client certificate for Temporal ({_place(tls.client_cert, _CERTIFICATE_VARIABLES)}) has expired on"
            f" {ends:%Y-%m-%d %H:%M} UTC. Replace it."
        )
    return certificate, key, ends


def _read(what: str, source: DataSource | None, variables: tuple[str, str]) -> bytes | None:
    if source is None:
        return None
    if not isinstance(source, Path):
        return source.encode() if isinstance(source, str) else source
    try:
        return source.read_bytes()
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else type(error).__name__
        raise ConfigurationError(
            f"The {what} for Temporal cannot be read from {source} ({why}). It is named by {variables[0]}, or by a"
            " profile."
        ) from error


def _parse_certificates(
    what: str, data: bytes, source: DataSource | None, variables: tuple[str, str]
) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError:
        raise ConfigurationError(
            f"The {what} for Temporal ({_place(source, variables)}) is not a certificate in PEM."
        ) from None


def _place(source: DataSource | None, variables: tuple[str, str]) -> str:
    """Return where something comes from. What is given as data is not shown."""
    return str(source) if isinstance(source, Path) else f"{variables[1]}, or the data in a profile"
