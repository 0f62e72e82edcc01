"""Encrypt and decrypt payloads and failures, without a server."""

from __future__ import annotations

import traceback
from typing import Any

import pytest
from pydantic import SecretStr
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError

from callboard.schemas.errors import ConfigurationError, SealError
from callboard.schemas.workflow.base import JsonRef
from callboard.settings import Settings
from callboard.temporal.data_converter import data_converter

OLD, NEW = "an-old-key-of-the-test", "a-new-key-of-the-test"
SECRET = "hunter2hunter2"


def converter(*keys: str, on: bool = True, namespace: str = "default") -> DataConverter:
    secret_key = [SecretStr(key) for key in keys]
    return data_converter(Settings(secret_key=secret_key, encrypt_payloads=on), namespace)


async def test_a_payload_shows_neither_its_content_nor_its_kind() -> None:
    value = JsonRef(text=SECRET, size=14)
    (payload,) = await converter(NEW).encode([value])
    assert set(payload.metadata) == {"encoding", "encryption-key-id"}
    assert payload.metadata["encoding"] == b"binary/encrypted"
    raw = payload.SerializeToString()
    assert SECRET.encode() not in raw
    assert b"json" not in raw
    assert await converter(NEW).decode([payload], [JsonRef]) == [value]


@pytest.mark.parametrize("value", [None, "", b"\x00\xff", {"a": [1, 2.5, None]}, "ü" * 40_000])
async def test_every_kind_of_value_comes_back(value: Any) -> None:
    assert await converter(NEW).decode(await converter(NEW).encode([value])) == [value]


async def test_what_is_not_encrypted_is_passed_on_and_what_is_stays_as_it_is() -> None:
    plain = await pydantic_data_converter.encode([SECRET])
    encryption = converter(NEW)
    assert encryption.payload_codec
    assert await encryption.decode(plain) == [SECRET]
    encrypted = await encryption.encode([SECRET])
    assert await encryption.payload_codec.encode(encrypted) == encrypted, "the SDK hands on what it has read"


async def test_switched_off_it_encrypts_nothing_and_opens_what_was_encrypted() -> None:
    off = converter(NEW, on=False)
    assert await off.encode([SECRET]) == await pydantic_data_converter.encode([SECRET])
    assert await off.decode(await converter(NEW).encode([SECRET])) == [SECRET]


async def test_the_first_key_encrypts_and_all_decrypt() -> None:
    old = await converter(OLD).encode([SECRET])
    rotated = converter(NEW, OLD)
    assert await rotated.decode(old) == [SECRET]
    assert await converter(NEW).decode(await rotated.encode([SECRET])) == [SECRET]
    with pytest.raises(ConfigurationError, match="which is not in CALLBOARD_SECRET_KEY"):
        await converter(NEW).decode(old)
    with pytest.raises(ConfigurationError, match="which is not in CALLBOARD_SECRET_KEY"):
        await converter(on=False).decode(old)


async def test_a_payload_opens_in_its_own_namespace_and_unchanged_only() -> None:
    (payload,) = await converter(NEW).encode([SECRET])
    with pytest.raises(SealError, match="another namespace"):
        await converter(NEW, namespace="elsewhere").decode([payload])
    changed = Payload(metadata=payload.metadata, data=payload.data[:-1] + bytes([payload.data[-1] ^ 1]))
    with pytest.raises(SealError):
        await converter(NEW).decode([changed])
    unnamed = Payload(metadata={"encoding": b"binary/encrypted"}, data=payload.data)
    with pytest.raises(ConfigurationError, match="with an unknown name"):
        await converter(NEW).decode([unnamed])


def test_without_a_key_it_cannot_be_switched_on() -> None:
    with pytest.raises(ConfigurationError, match="CALLBOARD_ENCRYPT_PAYLOADS is on, and CALLBOARD_SECRET_KEY"):
        converter()
    with pytest.raises(ConfigurationError, match="key number 1 has 5 characters"):
        converter("short")


def raised(detail: object = None) -> ApplicationError:
    try:
        raise ApplicationError(f"message {SECRET}", detail or {"detail": SECRET}, type="TryFailed", non_retryable=True)
    except ApplicationError as error:
        error.__cause__ = ValueError(f"cause {SECRET}")
        return error


@pytest.mark.parametrize("reader", [converter(NEW), converter(NEW, on=False)], ids=["on", "off"])
async def test_a_failure_hides_all_but_its_type_and_comes_back_whole(reader: DataConverter) -> None:
    failure = Failure()
    error = raised()
    await converter(NEW).encode_failure(error, failure)
    raw = failure.SerializeToString()
    assert SECRET.encode() not in raw
    assert b"test_payload_encryption" not in raw, "the stack trace is hidden, too"
    assert failure.application_failure_info.type == "TryFailed"
    read = await reader.decode_failure(failure)
    assert isinstance(read, ApplicationError)
    assert (read.message, read.type, read.non_retryable) == (error.message, error.type, True)
    assert list(read.details) == [{"detail": SECRET}]
    assert read.failure
    assert read.failure.stack_trace == "\n".join(traceback.format_tb(error.__traceback__))
    assert isinstance(read.__cause__, ApplicationError)
    assert read.__cause__.message == f"cause {SECRET}"


@pytest.mark.parametrize("on", [True, False])
async def test_a_failure_that_carries_an_outcome_has_no_stack_trace_of_ours(on: bool) -> None:
    failure, error = Failure(), raised(JsonRef(text=SECRET, size=14))
    await converter(NEW, on=on).encode_failure(error, failure)
    read = await converter(NEW).decode_failure(failure)
    assert isinstance(read, ApplicationError)
    assert (read.message, read.type, read.non_retryable) == (error.message, error.type, True)
    assert list(read.details) == [{"text": SECRET, "key": None, "size": 14}]
    assert read.failure
    assert read.failure.stack_trace == ""
    assert isinstance(read.__cause__, ApplicationError)
    assert error.__traceback__ is not None, "logs show it"


async def test_a_failure_of_before_is_read_where_it_is_switched_on() -> None:
    failure = Failure()
    await converter(NEW, on=False).encode_failure(raised(), failure)
    assert failure.message == f"message {SECRET}"
    read = await converter(NEW).decode_failure(failure)
    assert isinstance(read, ApplicationError)
    assert read.message == f"message {SECRET}"
