"""Convert what crosses Temporal: pydantic models to JSON, and that to encrypted payloads where this is switched on."""

from __future__ import annotations

from dataclasses import replace

from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import (
    DataConverter,
    DefaultFailureConverter,
    DefaultFailureConverterWithEncodedAttributes,
)

from schemas.errors import ConfigurationError
from security.keyring import KeyRing
from settings import Settings
from temporal.payload_encryption import PayloadEncryption


def data_converter(settings: Settings, namespace: str) -> DataConverter:
    """Return the data converter for a namespace. Raises ConfigurationError as `payload_encryption` does."""
    return replace(
        pydantic_data_converter,
        payload_codec=payload_encryption(settings, namespace),
        # A failure has its message and its stack trace outside its payloads. One of these converters moves them into
        # one; both find them there.
        failure_converter_class=(
            DefaultFailureConverterWithEncodedAttributes if settings.encrypt_payloads else DefaultFailureConverter
        ),
    )


def payload_encryption(settings: Settings, namespace: str) -> PayloadEncryption:
    """Return what encrypts payloads if the settings ask for it, and decrypts them in any case.

    Raises:
        ConfigurationError: Encryption is switched on and there is no key, or a key is too short.
    """
    if settings.encrypt_payloads and not settings.secret_key:
        raise ConfigurationError(
            "CALLBOARD_ENCRYPT_PAYLOADS is on, and CALLBOARD_SECRET_KEY, whose first key encrypts payloads, is not set."
            " Set it to the same keys for all that use this namespace, or switch encryption off."
        )
    ring = KeyRing.of(settings)
    return PayloadEncryption(ring, namespace=namespace, switched_on=settings.encrypt_payloads)
