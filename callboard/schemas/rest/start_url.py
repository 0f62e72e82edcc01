"""The address at which a person begins to log in."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from callboard.schemas.rest.base import checked, expected_error, expects
from callboard.schemas.rest.sink import HTTP_URL, check_http_url


def _check(url: str) -> None:
    check_http_url(url)
    if "@" in urlsplit(url).netloc:
        raise expected_error(f"{HTTP_URL}, and without user and password, as it is shown to people")


StartUrl = Annotated[str, Field(max_length=2048), AfterValidator(checked(_check)), expects(HTTP_URL)]
