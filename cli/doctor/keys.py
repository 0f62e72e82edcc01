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

_MAKE_KEY = "`python3 -c 'import secrets; print(secrets.token_urlsafe(32))'` prints a new one"
_MAKE_SIGNING_KEY = (
    "`python3 -c 'import base64, secrets; print(\"whsec_\" + base64.b64encode(secrets.token_bytes(32)).decode())'`"
    " prints a new one"
)


def check_api_keys(settings: Settings) -> Finding:
    """Check the keys to the API."""
    keys = _reveal(settings.api_keys)
    if not keys:
        fix = f"Set CALLBOARD_API_KEYS for every API service; {_MAKE_KEY}. (`callboard dev` creates its own.)"
        return failed("API keys", "No API key is set, so the API does not start.", fix)
    try:
        ApiKeys(keys)
    except ConfigurationError as error:
        return failed("API keys", error.message, f"Set longer keys for every API service and its clients; {_MAKE_KEY}.")
    return ok("API keys", _format_count(len(keys)))


def check_secret_key(settings: Settings) -> Finding:
    """Check the keys that seal secrets."""
    keys = _reveal(settings.secret_key)
    fix = f"Set CALLBOARD_SECRET_KEY to the same value for every API service and worker; {_MAKE_KEY}."
    if not keys:
        return failed(
            "Secret key", "No secret key is set: AuthSessions, sinks, proxies and Idempotency-Keys need one.", fix
        )
    try:
        KeyRing(keys)
    except ConfigurationError as error:
        return failed("Secret key", error.message, fix)
    return ok("Secret key", _format_count(len(keys)))


def check_webhook_secrets(settings: Settings) -> Finding:
    """Check the secrets that sign webhooks."""
    secrets = _reveal(settings.webhook_secrets)
    fix = f"Set CALLBOARD_WEBHOOK_SECRETS for every worker; {_MAKE_SIGNING_KEY}."
    if not secrets:
        return warning("Webhook secrets", "No secret is set, so no webhook is sent.", fix)
    try:
        WebhookSigner(secrets)
    except ConfigurationError as error:
        return failed("Webhook secrets", error.message, fix)
    return ok("Webhook secrets", _format_count(len(secrets)))


def _reveal(secrets: Sequence[SecretStr]) -> list[str]:
    return [secret.get_secret_value() for secret in secrets]


def _format_count(number: int) -> str:
    return "1 key is set." if number == 1 else f"{number} keys are set; the first is the newest."
