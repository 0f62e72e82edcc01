"""Checks that the keys of the installation are set and valid. No key is shown."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import SecretStr

from cli.doctor.findings import Finding, failed, ok, warning
from schemas.errors import ConfigurationError
from security.apikeys import ApiKeys
from security.keyring import KeyRing
from security.signing import Signer
from settings import Settings

_A_RANDOM_ONE = "`python3 -c 'import secrets; print(secrets.token_urlsafe(32))'` makes one"
_A_SIGNING_ONE = (
    "`python3 -c 'import base64, secrets; print(\"whsec_\" + base64.b64encode(secrets.token_bytes(32)).decode())'`"
    " makes one"
)


def api_keys(settings: Settings) -> Finding:
    """Check the keys to the API."""
    keys = _plain(settings.api_keys)
    if not keys:
        mend = f"Set CALLBOARD_API_KEYS for every api; {_A_RANDOM_ONE}. (`callboard dev` makes its own.)"
        return failed("API keys", "There is none, so no api starts.", mend)
    try:
        ApiKeys(keys)
    except ConfigurationError as error:
        return failed("API keys", error.message, f"Set longer ones for every api and its clients; {_A_RANDOM_ONE}.")
    return ok("API keys", _count(len(keys)))


def secret_key(settings: Settings) -> Finding:
    """Check the keys that seal secrets."""
    keys = _plain(settings.secret_key)
    mend = f"Set CALLBOARD_SECRET_KEY to the same for every api and worker; {_A_RANDOM_ONE}."
    if not keys:
        return failed("Secret key", "There is none: AuthSessions, sinks, proxies and Idempotency-Keys need it.", mend)
    try:
        KeyRing(keys)
    except ConfigurationError as error:
        return failed("Secret key", error.message, mend)
    return ok("Secret key", _count(len(keys)))


def webhook_secrets(settings: Settings) -> Finding:
    """Check the secrets that sign webhooks."""
    secrets = _plain(settings.webhook_secrets)
    mend = f"Set CALLBOARD_WEBHOOK_SECRETS for every worker; {_A_SIGNING_ONE}."
    if not secrets:
        return warning("Webhook secrets", "There is none, so no webhook is sent.", mend)
    try:
        Signer(secrets)
    except ConfigurationError as error:
        return failed("Webhook secrets", error.message, mend)
    return ok("Webhook secrets", _count(len(secrets)))


def _plain(secrets: Sequence[SecretStr]) -> list[str]:
    return [secret.get_secret_value() for secret in secrets]


def _count(number: int) -> str:
    return "There is one." if number == 1 else f"There are {number}; the first is the newest."
