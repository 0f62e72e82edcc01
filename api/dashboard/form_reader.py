"""Conversion of the fields of a form to values of a body, and of the API's errors to messages for the fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.http.json_body import parse
from schemas.errors import BadRequest, CallboardError
from schemas.rest.problems import bad_field


class FormReader:
    """Reads the fields of a form, and collects what is wrong with them."""

    def __init__(self, form: Mapping[str, str]) -> None:
        self._form = form
        self._wrong: list[BadRequest] = []

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
        self._wrong.append(bad_field(path, "a whole number"))
        return None

    def json(self, name: str, path: str) -> Any:
        """Return the JSON value in a field; an empty object if the text is not JSON."""
        try:
            return parse(self._form.get(name, "").encode())
        except BadRequest as error:
            why = error.message.removeprefix("The body is not JSON: ")
            self._wrong.append(bad_field(path, f"a JSON object: {why}", f"{path}: this is not JSON: {why}"))
            return {}

    def put(self, into: dict[str, Any], name: str, value: Any) -> None:
        """Put a member into a body, unless its value is None because it was left out."""
        if value is not None:
            into[name] = value

    def finish(self) -> None:
        """Raise BadRequest if any field was wrong; the error names all of them."""
        if self._wrong:
            errors = [each.details["errors"][0] for each in self._wrong if each.details]
            raise BadRequest(self._wrong[0].message, details={**errors[0], "errors": errors})


def errors_by_path(error: CallboardError) -> dict[str, str]:
    """Return what is wrong with each field, by the path of the field in the body."""
    details = error.details or {}
    lines: list[dict[str, str]] = details.get("errors") or ([details] if "path" in details else [])
    return {line["path"]: f"Expected {line['expected']}." if "expected" in line else error.message for line in lines}
