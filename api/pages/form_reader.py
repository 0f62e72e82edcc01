"""From the fields of a form to values of a body, and back from what the API says is wrong to the fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.reading import parse
from contract.errors import BadRequest, CallboardError
from contract.rest.problems import bad_field


class FormReader:
    """Reads fields, and collects what is wrong with them."""

    def __init__(self, form: Mapping[str, str]) -> None:
        self._form = form
        self._wrong: list[BadRequest] = []

    def text(self, name: str) -> str | None:
        """What stands in a field; None if it is empty."""
        return self._form.get(name, "").strip() or None

    def number(self, name: str, path: str) -> int | None:
        """The whole number in a field, which is `path` in the body; None if it is empty, or none."""
        text = self.text(name)
        if text is None:
            return None
        if text.isascii() and text.isdigit() and len(text) < 10:
            return int(text)
        self._wrong.append(bad_field(path, "a whole number"))
        return None

    def json(self, name: str, path: str) -> Any:
        """The JSON value in a field; an empty object if it is none."""
        try:
            return parse(self._form.get(name, "").encode())
        except BadRequest as error:
            why = error.message.removeprefix("The body is not JSON: ")
            self._wrong.append(bad_field(path, f"a JSON object: {why}", f"{path}: this is not JSON: {why}"))
            return {}

    def put(self, into: dict[str, Any], name: str, value: Any) -> None:
        """A member of a body, unless it was left out."""
        if value is not None:
            into[name] = value

    def finish(self) -> None:
        """Raises BadRequest if anything was wrong; all of it is named."""
        if self._wrong:
            errors = [each.details["errors"][0] for each in self._wrong if each.details]
            raise BadRequest(self._wrong[0].message, details={**errors[0], "errors": errors})


def errors_by_path(error: CallboardError) -> dict[str, str]:
    """What is wrong, by the path of the field in the body."""
    details = error.details or {}
    lines: list[dict[str, str]] = details.get("errors") or ([details] if "path" in details else [])
    return {line["path"]: f"Expected {line['expected']}." if "expected" in line else error.message for line in lines}
