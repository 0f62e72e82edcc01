"""Encode and decode payloads for a client that has no keys, by the protocol of Temporal's remote codecs.

Its bodies are JSON: `{"payloads": [{"metadata": {"encoding": BASE64}, "data": BASE64}]}`, for requests and answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from google.protobuf.json_format import MessageToJson, Parse, ParseError
from temporalio.api.common.v1 import Payload, Payloads

from callboard.schemas.errors import ConfigurationError, SealError
from callboard.schemas.rest.field_errors import field_error
from callboard.settings import Settings
from callboard.temporal.data_converter import payload_encryption

_MOST_OBJECTS = 5_000
"""Most objects in the JSON of a body: each costs some hundred microseconds and a kilobyte. A payload has two, and the
Web UI sends those of one event at a time."""
_EXPECTED = 'a JSON object like {"payloads": [{"metadata": {"encoding": BASE64}, "data": BASE64}]}'

_Transform = Callable[[Sequence[Payload]], Awaitable[list[Payload]]]


class RemoteCodec:
    """Encrypts and decrypts for others as this process does for itself.

    To make one raises ConfigurationError as `payload_encryption` does.
    """

    def __init__(self, settings: Settings, namespace: str) -> None:
        self._encryption = payload_encryption(settings, namespace)

    async def decode(self, body: bytes) -> bytes:
        """Return the payloads decrypted, and those that are not encrypted as they are.

        Raises:
            BadRequest: The body is not that of a remote codec, or a payload in it cannot be decrypted.
        """
        try:
            return await _transform(body, self._encryption.decode)
        except (ConfigurationError, SealError) as error:
            raise field_error("payloads", "payloads that this api's keys can decrypt", str(error)) from error

    async def encode(self, body: bytes) -> bytes:
        """Return the payloads as clients write them: encrypted, if that is switched on. Raises BadRequest."""
        return await _transform(body, self._encryption.encode)


async def _transform(body: bytes, transform: _Transform) -> bytes:
    payloads = await asyncio.to_thread(_parse, body)
    transformed = Payloads(payloads=await transform(payloads.payloads))
    return (await asyncio.to_thread(MessageToJson, transformed, indent=None)).encode()


def _parse(body: bytes) -> Payloads:
    if body.count(b"{") > _MOST_OBJECTS:
        raise field_error("", "fewer payloads", "The body holds too many payloads. Send them in several requests.")
    try:
        if not body.lstrip().startswith(b"{"):  # the parser takes an empty list or a text for an object without fields
            raise ParseError
        return Parse(body, Payloads(), ignore_unknown_fields=True)
    except (ParseError, UnicodeDecodeError) as error:
        # The parser's message may quote the body.
        raise field_error("", _EXPECTED, f"The body holds no payloads of Temporal. Expected {_EXPECTED}.") from error
