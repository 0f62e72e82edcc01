"""Checks that the keys of the installation are set and valid. No key is shown."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import SecretStr

from cli.doctor.findings import Finding, failed, ok, warning
from schemas.errors import ConfigurationError
from security.apikeys import ApiKeys
from security.keyring import KeyRing
from security.signing import WebhookSigner
from settings import Settings

_MAKE_KEY = "`python3 -c 'import secrets; print(secrets.token_urlsafe(32))'` makes one"
_MAKE_SIGNING_KEY = (
    "`python3 -c 'import base64, secrets; print(\"whsec_\" + base64.b64encode(secrets.token_bytes(32)).decode())'`"
    " makes one"
)


def check_api_keys(settings: Settings) -> Finding:
    """Check the keys to the API."""
    keys = _reveal(settings.api_keys)
    if not keys:
        mend = f"Set CALLBOARD_API_KEYS for every api; {_MAKE_KEY}. (`callboard dev` makes its own.)"
        return failed("API keys", "There is none, so no api starts.", mend)
    try:
        ApiKeys(keys)
    except ConfigurationError as error:
        return failed("API keys", error.message, f"Set longer ones for every api and its clients; {_MAKE_KEY}.")
    return ok("API keys", _format_count(len(keys)))


def check_secret_key(settings: Settings) -> Finding:
    """Check the keys that seal secrets."""
    keys = _reveal(settings.secret_key)
    mend = f"Set CALLBOARD_SECRET_KEY to the same for every api and worker; {_MAKE_KEY}."
    if not keys:
        return failed("Secret key", "There is none: AuthSessions, sinks, proxies and Idempotency-Keys need it.", mend)
    try:
        KeyRing(keys)
    except ConfigurationError as error:
        return failed("Secret key", error.message, mend)
    return ok("Secret key", _format_count(len(keys)))


def check_webhook_secrets(settings: Settings) -> Finding:
    """Check the secrets that sign webhooks."""
    secrets = _reveal(settings.webhook_secrets)
    mend = f"Set CALLBOARD_WEBHOOK_SECRETS for every worker; {_MAKE_SIGNING_KEY}."
    if not secrets:
        return warning("Webhook secrets", "There is none, so no webhook is sent.", mend)
    try:
        WebhookSigner(secrets)
    except ConfigurationError as error:
        return failed("Webhook secrets", error.message, mend)
    return ok("Webhook secrets", _format_count(len(secrets)))


def _reveal(secrets: Sequence[SecretStr]) -> list[str]:
    return [secret.get_secret_value() for secret in secrets]


def _format_count(number: int) -> str:
    return "There is one." if number == 1 else f"There are {number}; the first is the newest."
