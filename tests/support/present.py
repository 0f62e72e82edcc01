"""Values that a test knows to be there, and fields that it looks at together."""

from __future__ import annotations

from typing import Any


def present[T](value: T | None) -> T:
    """Return the value, which must not be None."""
    assert value is not None
    return value


def assert_has(value: object, **fields: Any) -> None:
    """Assert that these attributes of the value are as given."""
    assert {name: getattr(value, name) for name in fields} == fields
