"""Reads the variables of OpenTelemetry that decide whether and how traces are exported, and refuses wrong ones.

The SDK itself reads the rest of them. It would only warn of a value that it cannot use, and would quote headers, which
hold secrets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from schemas.errors import ConfigurationError

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_HEADERS = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
_TIMEOUTS = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")
_COMPRESSIONS = ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION")
_SAMPLER = "OTEL_TRACES_SAMPLER"
_SAMPLER_ARGUMENT = "OTEL_TRACES_SAMPLER_ARG"
_EXPORTER = "OTEL_TRACES_EXPORTER"

_PROTOCOL = "http/protobuf"
_SAMPLERS = (
    *("always_on", "always_off", "traceidratio"),
    *("parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio"),
)
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t]*=[^,]*")


def is_tracing_wanted(variables: Mapping[str, str]) -> bool:
    """Tell whether traces are to be exported: an endpoint is set, and nothing turns them off.

    Raises:
        ConfigurationError: A variable has a value that cannot be used.
    """
    if variables.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if not any(variables.get(name, "").strip() for name in _ENDPOINTS):
        return False
    exporter = variables.get(_EXPORTER, "").strip() or "otlp"
    if exporter not in ("otlp", "none"):
        raise _wrong(_EXPORTER, "otlp or none")
    if exporter == "none":
        return False
    _check(variables)
    return True


def trace_endpoints(variables: Mapping[str, str]) -> list[str]:
    """Return the addresses of the collectors that are named, whether traces are exported or not."""
    return [value for name in _ENDPOINTS if (value := variables.get(name, "").strip())]


def _check(variables: Mapping[str, str]) -> None:
    for name in _ENDPOINTS:
        value = variables.get(name, "").strip()
        if value and not _is_http_address(value):
            raise _wrong(
                name, "an address like http://collector:4318, without credentials: these belong in the headers"
            )
    for name in _PROTOCOLS:
        if variables.get(name, "").strip() not in ("", _PROTOCOL):
            raise _wrong(name, f"{_PROTOCOL}, the only protocol that Callboard speaks")
    for name in _HEADERS:
        # The value may be a secret, so it is not told.
        if not all(_HEADER.fullmatch(part.strip()) for part in variables.get(name, "").split(",") if part.strip()):
            raise _wrong(name, "a list like name=value,name=value, with values in URL encoding")
    for name in _TIMEOUTS:
        if variables.get(name, "").strip() and not _is_number(variables[name], least=0.001):
            raise _wrong(name, "a number of seconds above 0")
    for name in _COMPRESSIONS:
        if variables.get(name, "").strip() not in ("", "none", "gzip", "deflate"):
            raise _wrong(name, "none, gzip or deflate")
    sampler = variables.get(_SAMPLER, "").strip()
    if sampler and sampler not in _SAMPLERS:
        raise _wrong(_SAMPLER, f"one of {', '.join(_SAMPLERS)}")
    argument = variables.get(_SAMPLER_ARGUMENT, "").strip()
    if argument and sampler.endswith("traceidratio") and not _is_number(argument, least=0, most=1):
        raise _wrong(_SAMPLER_ARGUMENT, "a number from 0 to 1")


def _is_http_address(text: str) -> bool:
    try:
        address = urlsplit(text)
        _ = address.port  # A port that is no number raises here.
    except ValueError:
        return False
    return address.scheme in ("http", "https") and bool(address.hostname) and address.username is None


def _is_number(text: str, *, least: float, most: float = float("inf")) -> bool:
    try:
        return least <= float(text) <= most
    except ValueError:
        return False


def _wrong(name: str, expected: str) -> ConfigurationError:
    return ConfigurationError(f"{name} must be {expected}.")
