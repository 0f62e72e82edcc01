"""Conditions of queries for Temporal's visibility."""

from __future__ import annotations

from collections.abc import Iterable


def is_one_of(name: str, values: Iterable[str]) -> str:
    """Return a condition that the attribute has one of the values; empty if there are no values."""
    literals = [quote(value) for value in sorted(values)]
    if len(literals) > 1:
        return f"{name} IN ({', '.join(literals)})"
    return f"{name} = {literals[0]}" if literals else ""


def equals(name: str, value: str) -> str:
    """Return a condition that the attribute has this value."""
    return f"{name} = {quote(value)}"


def starts_with(name: str, beginning: str) -> str:
    """Return a condition that the attribute's value begins with this."""
    return f"{name} STARTS_WITH {quote(beginning)}"


def quote(value: str) -> str:
    """Return a value quoted for a query, whatever characters it contains."""
    escaped = value.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"
