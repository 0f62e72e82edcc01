"""Forms of the pages: reading their fields, converting these to a body of the API, and messages beside the fields."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from starlette.datastructures import ImmutableMultiDict, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from api.http.json_body import read_body
from callboard.schemas.errors import BadRequest, CallboardError
from callboard.schemas.rest.field_errors import field_error
from callboard.schemas.rest.json_text import parse_json

FORM_LIMIT = 4 * 1024 * 1024
"""Largest form in bytes. A form may hold a body of the API, and percent-encoding triples its size."""
_FIELDS = 1000


async def read_form(request: Request, limit: int = FORM_LIMIT) -> ImmutableMultiDict[str, str]:
    """Read the request's body and return the fields of a form.

    Raises:
        PayloadTooLarge: The body has more than `limit` bytes.
        BadRequest: The body is not a form.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise BadRequest("Expected a form (application/x-www-form-urlencoded).")
    body = await read_body(request, limit)
    try:
        return ImmutableMultiDict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_FIELDS))
    except ValueError as error:
        raise BadRequest("The form cannot be read.") from error


@dataclass(frozen=True)
class FormFile:
    """A file that was sent with a form."""

    name: str
    content: bytes


async def read_form_with_file(request: Request, limit: int) -> tuple[ImmutableMultiDict[str, str], FormFile | None]:
    """Read the fields of a form that may have a file, and the file, if one was chosen. Raises as `read_form`."""
    kind = request.headers.get("content-type", "").lower()
    if not kind.startswith("multipart/form-data"):
        return await read_form(request, limit), None
    if "charset" in kind:  # Python has some that take minutes for a megabyte, and browsers send none
        raise BadRequest("Expected a form in UTF-8, and no charset.")
    body = await read_body(request, limit)

    async def whole() -> AsyncGenerator[bytes]:
        yield body

    parser = MultiPartParser(request.headers, whole(), max_files=1, max_fields=_FIELDS, max_part_size=limit)
    parser.spool_max_size = limit  # it is in memory already
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise BadRequest(f"The form cannot be read: {error.message}") from error
    fields = [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
    files = [value for value in form.values() if isinstance(value, UploadFile) and value.filename]
    file = FormFile(files[0].filename or "", await files[0].read()) if files else None
    await form.close()
    return ImmutableMultiDict(fields), file


class FormReader:
    """Reads the fields of a form, and collects what is wrong with them."""

    def __init__(self, form: Mapping[str, str]) -> None:
        self._form = form
        self._errors: list[BadRequest] = []

    def note(self, error: BadRequest) -> None:
        """Collect what is wrong with a field that was read by other means."""
        self._errors.append(error)

    def has(self, name: str) -> bool:
        """Tell whether the form has a field."""
        return name in self._form

    def text(self, name: str) -> str | None:
        """Return the text of a field; None if it is empty."""
        return self._form.get(name, "").strip() or None

    def number(self, name: str, path: str) -> int | None:
        """Return the whole number in a field; None if the field is empty, or holds no such number.

        Args:
            name: The name of the field in the form.
            path: The path of the value in the body, which errors name.
        """
        text = self.text(name)
        if text is None:
            return None
        if text.isascii() and text.isdigit() and len(text) < 10:
            return int(text)
        self._errors.append(field_error(path, "a whole number"))
        return None

    def json(self, name: str, path: str) -> Any:
        """Return the JSON value in a field; an empty object if the text is not JSON."""
        try:
            return parse_json(self._form.get(name, "").encode())
        except BadRequest as error:
            why = error.message.removeprefix("The body is not JSON: ")
            self._errors.append(field_error(path, f"a JSON object: {why}", f"{path}: this is not JSON: {why}"))
            return {}

    def set_if_given(self, body: dict[str, Any], name: str, value: Any) -> None:
        """Set a member of a body, unless its value is None because its field is empty."""
        if value is not None:
            body[name] = value

    def raise_if_invalid(self) -> None:
        """Raise BadRequest if any field was wrong; the error names all of them."""
        if self._errors:
            errors = [each.details["errors"][0] for each in self._errors if each.details]
            raise BadRequest(self._errors[0].message, details={**errors[0], "errors": errors})


def read_sink(reader: FormReader) -> dict[str, Any] | None:
    """Return the sink that a form describes, as a request has it; None if it describes none."""
    kind = reader.text("sink")
    if kind is None:
        return None
    sink: dict[str, Any] = {"type": kind}
    if kind == "webhook":
        sink["url"] = reader.text("url") or ""
        if reader.text("headers") is not None:
            sink["headers"] = reader.json("headers", "sink.headers")
    else:
        for name in ("bucket", "region", "accessKeyId", "secretAccessKey", "prefix", "endpoint"):
            reader.set_if_given(sink, name, reader.text(name))
        if reader.text("forcePathStyle"):
            sink["forcePathStyle"] = True
    if reader.text("skipOnFail"):
        sink["skipOnFail"] = True
    return sink


def errors_by_path(error: CallboardError) -> dict[str, str]:
    """Return what is wrong with each field, by the path of the field in the body."""
    details = error.details or {}
    lines: list[dict[str, str]] = details.get("errors") or ([details] if "path" in details else [])
    return {line["path"]: f"Expected {line['expected']}." if "expected" in line else error.message for line in lines}
