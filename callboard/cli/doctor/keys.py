"""Checks that the keys of the installation are set and valid. No key is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydantic import SecretStr

from callboard.cli.doctor.findings import Finding, failed, ok, warning
from callboard.schemas.errors import ConfigurationError
from callboard.security.apikeys import ApiKeys
from callboard.security.keyring import KeyRing
from callboard.security.signing import WebhookSigner
from callboard.settings import Settings

_MAKE_KEY = "`python3 -c 'import secrets; print(secrets.token_urlsafe(32))'` prints a new one"
_MAKE_SIGNING_KEY = (
    "`python3 -c 'import base64, secrets; print(\"whsec_\" + base64.b64encode(secrets.token_bytes(32)).decode())'`"
    " prints a new one"
)


def check_api_keys(settings: Settings) -> Finding:
    """Check the keys to the API."""
    fix = f"Set CALLBOARD_API_KEYS for every API service and its clients; {_MAKE_KEY}. (`callboard dev` has its own.)"
    if not settings.api_keys:
        return failed("API keys", "No API key is set, so the API does not start.", fix)
    return _check("API keys", settings.api_keys, ApiKeys, fix)


def check_secret_key(settings: Settings) -> Finding:
    """Check the keys that seal secrets."""
    fix = f"Set CALLBOARD_SECRET_KEY to the same value for every API service and worker; {_MAKE_KEY}."
    if not settings.secret_key:
        missing = "No secret key is set: AuthSessions, sinks, proxies and Idempotency-Keys need one."
        return failed("Secret key", missing, fix)
    return _check("Secret key", settings.secret_key, KeyRing, fix)


def check_webhook_secrets(settings: Settings) -> Finding:
    """Check the secrets that sign webhooks."""
    fix = f"Set CALLBOARD_WEBHOOK_SECRETS for every worker; {_MAKE_SIGNING_KEY}."
    if not settings.webhook_secrets:
        return warning("Webhook secrets", "No secret is set, so no webhook is sent.", fix)
    return _check("Webhook secrets", settings.webhook_secrets, WebhookSigner, fix)


def _check(check: str, keys: Sequence[SecretStr], use: Callable[[list[str]], object], fix: str) -> Finding:
    try:
        use([key.get_secret_value() for key in keys])
    except ConfigurationError as error:
        return failed(check, error.message, fix)
    number = len(keys)
    return ok(check, "1 key is set." if number == 1 else f"{number} keys are set; the first is the newest.")
