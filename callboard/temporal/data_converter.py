"""Convert what crosses Temporal: pydantic models to JSON, and that to encrypted payloads where this is switched on.

Payloads are inputs, results, details of failures, memos, signals, summaries and headers. An encrypted one has the
metadata that Temporal's own examples use: `encoding` is `binary/encrypted`, and `encryption-key-id` names the key. Its
data is the whole payload as it was, sealed by the key ring. So the server sees neither its content nor which kind of
content it is.

It is bound to its namespace, so that it opens in no other one. It cannot be bound to its workflow: Temporal hands
payloads on from one workflow to another as they are, and a client that shows a history does not say whose they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import override

from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import (
    DataConverter,
    DefaultFailureConverter,
    PayloadCodec,
    PayloadConverter,
)
from temporalio.exceptions import ApplicationError

from callboard.schemas.errors import ConfigurationError
from callboard.schemas.workflow.base import FlowModel
from callboard.security.keyring import KeyRing
from callboard.settings import Settings

ENCODING = b"binary/encrypted"
KEY_ID = "encryption-key-id"


def data_converter(settings: Settings, namespace: str) -> DataConverter:
    """Return the data converter for a namespace. Raises ConfigurationError as `payload_encryption` does."""
    return replace(
        pydantic_data_converter,
        payload_codec=payload_encryption(settings, namespace),
        # A failure has its message and its stack trace outside its payloads. One of these converters moves them into
        # one; both find them there.
        failure_converter_class=EncodedFailureConverter if settings.encrypt_payloads else FailureConverter,
    )


class FailureConverter(DefaultFailureConverter):
    """Leaves the stack trace out of a failure that carries an outcome.

    It is that of Callboard's own code, the same each time, and would be the largest part of the history of a Run that
    fails. Where user code has failed stands in the outcome.
    """

    @override
    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        if isinstance(exception, ApplicationError) and any(isinstance(each, FlowModel) for each in exception.details):
            told = copy(exception)
            told.__cause__ = exception.__cause__
            exception = told
        super().to_failure(exception, payload_converter, failure)


class EncodedFailureConverter(FailureConverter):
    """The same, with message and stack trace in a payload, so that they are encrypted as well."""

    def __init__(self) -> None:
        super().__init__(encode_common_attributes=True)


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


class PayloadEncryption(PayloadCodec):
    """Encrypts payloads if it is switched on, and decrypts them in any case.

    So what was written while it was on can be read after it was switched off, and the other way around.
    """

    def __init__(self, ring: KeyRing, *, namespace: str, switched_on: bool) -> None:
        self._ring = ring
        self._namespace = namespace
        self._bound_to = f"payloads of Temporal namespace {namespace}"
        self._switched_on = switched_on

    @override
    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Return the payloads encrypted by the newest key. One that is encrypted already stays as it is."""
        return [self._encrypt(payload) for payload in payloads] if self._switched_on else list(payloads)

    @override
    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Return the payloads decrypted. One that is not encrypted stays as it is.

        Raises:
            ConfigurationError: The key is not in the ring.
            SealError: A payload was changed, or comes from another namespace.
        """
        return [self._decrypt(payload) if is_encrypted(payload) else payload for payload in payloads]

    def switched_off(self) -> PayloadEncryption:
        """Return a copy that encrypts nothing."""
        return PayloadEncryption(self._ring, namespace=self._namespace, switched_on=False)

    def _encrypt(self, payload: Payload) -> Payload:
        if is_encrypted(payload):
            return payload
        key_id, sealed = self._ring.seal_payload(payload.SerializeToString(), bound_to=self._bound_to)
        return Payload(metadata={"encoding": ENCODING, KEY_ID: key_id.encode()}, data=sealed)

    def _decrypt(self, payload: Payload) -> Payload:
        key_id = payload.metadata.get(KEY_ID, b"").decode("ascii", "replace")
        return Payload.FromString(self._ring.open_payload(key_id, payload.data, bound_to=self._bound_to))


def is_encrypted(payload: Payload) -> bool:
    """Tell whether this is a payload that `PayloadEncryption` has made."""
    return payload.metadata.get("encoding") == ENCODING
