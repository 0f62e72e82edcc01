"""The one call by which helpers of `intuned_browser` ask something of the platform."""

from __future__ import annotations

from typing import Any, Protocol, Self

from callboard_runtime import uploads
from intuned_runtime import PlatformOnlyError


class _Answer(Protocol):
    """A model of pydantic."""

    @classmethod
    def model_validate(cls, obj: Any, /) -> Self: ...


async def call_backend_function[Answer: _Answer](
    name: str, validation_model: type[Answer], *, method: str = "GET", **_further: object
) -> Answer:
    """Answer as the platform does, where that is possible here.

    Files are taken (docs/contract.md, section 12.7). Nothing is cached, so that whatever is looked for is made anew.

    Raises:
        PlatformOnlyError: The platform alone has that service.
        OSError, RuntimeError: Nothing can be uploaded; RuntimeError where no Attempt runs.
    """
    if name == "files/uploadSignedUrls":
        return validation_model.model_validate(uploads.announce())
    if name.startswith("cache/"):
        return validation_model.model_validate({"value": None} if method == "GET" else {})
    raise PlatformOnlyError(name)
