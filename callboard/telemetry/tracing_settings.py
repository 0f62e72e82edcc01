"""Reads the variables of OpenTelemetry that decide whether and how traces are exported, and refuses wrong ones.

The SDK itself reads the rest of them. It would only warn of a value that it cannot use, and would quote headers, which
hold secrets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from callboard.schemas.errors import ConfigurationError

_PREFIXES = ("OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_")
_ENDPOINTS = tuple(f"{prefix}ENDPOINT" for prefix in _PREFIXES)
_EXPORTER = "OTEL_TRACES_EXPORTER"
_SAMPLER = "OTEL_TRACES_SAMPLER"
_SAMPLER_ARGUMENT = "OTEL_TRACES_SAMPLER_ARG"

_HEADER = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t]*=[^,]*"
_RULES = {
    "ENDPOINT": (
        r"https?://([^/?#@:\s\[\]]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/\S*)?",
        "an address like http://collector:4318, without credentials: these belong in the headers",
    ),
    "PROTOCOL": ("http/protobuf", "http/protobuf, the only protocol that Callboard speaks"),
    "HEADERS": (
        rf"({_HEADER})?(\s*,\s*({_HEADER})?)*",
        "a list like name=value,name=value, with values in URL encoding",
    ),
    "TIMEOUT": (r"(?=.*[1-9])[0-9]+(\.[0-9]+)?", "a number of seconds above 0"),
    "COMPRESSION": ("none|gzip|deflate", "none, gzip or deflate"),
}
"""Forms of the exporter's variables, by the ends of their names, and how errors describe them."""
_SAMPLERS = (
    "always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off, parentbased_traceidratio"
)


def is_tracing_wanted(variables: Mapping[str, str]) -> bool:
    """Tell whether traces are exported: an endpoint is set, and nothing turns them off.

    Raises:
        ConfigurationError: A variable has a value that cannot be used.
    """
    if variables.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or not trace_endpoints(variables):
        return False
    _check(variables, _EXPORTER, "otlp|none", "otlp or none")
    if variables.get(_EXPORTER, "").strip() == "none":
        return False
    for end, (form, expected) in _RULES.items():
        for prefix in _PREFIXES:
            _check(variables, f"{prefix}{end}", form, expected)
    _check(variables, _SAMPLER, _SAMPLERS.replace(", ", "|"), f"one of {_SAMPLERS}")
    if variables.get(_SAMPLER, "").strip().endswith("traceidratio"):
        _check(variables, _SAMPLER_ARGUMENT, r"0?\.[0-9]+|0|1|1\.0*", "a number from 0 to 1")
    return True


def trace_endpoints(variables: Mapping[str, str]) -> list[str]:
    """Return the addresses of the collectors that are named, whether traces are exported or not."""
    return [value for name in _ENDPOINTS if (value := variables.get(name, "").strip())]


def _check(variables: Mapping[str, str], name: str, form: str, expected: str) -> None:
    """Raise ConfigurationError if a variable is set to anything but this form. The value may be a secret."""
    value = variables.get(name, "").strip()
    if value and not re.fullmatch(form, value):
        raise ConfigurationError(f"{name} must be {expected}.")
