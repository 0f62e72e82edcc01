"""Trees of JSON values that a page can show, however big and deep the values are."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, cast

_MOST = 1500
"""Largest number of nodes in one tree. The tree says how much is left out, and the file holds all of it."""
_DEEPEST = 30
_LONGEST = 4000
"""Largest number of characters that are shown of one text."""


@dataclass
class Node:
    """One value, with its name in the object, or its index in the array, that holds it."""

    name: str | None
    kind: str
    """Kind of the value: `object`, `array`, `text`, `number` or `word`."""
    text: str = ""
    """Text of the value; for an object or an array, the number of its children."""
    children: list[Node] = field(default_factory=list["Node"])
    left_out: int = 0
    """Number of children that are not shown."""


def tree_of(value: Any) -> Node:
    """Return the tree of a JSON value."""
    budget = [_MOST]
    return _node(None, value, 0, budget)


def _node(name: str | None, value: Any, depth: int, budget: list[int]) -> Node:
    budget[0] -= 1
    match value:
        case dict():
            items = [(str(key), item) for key, item in cast("dict[str, Any]", value).items()]
            return _with_children(Node(name, "object", _count(len(items), "field")), items, depth, budget)
        case list():
            items = [(str(index), item) for index, item in enumerate(cast("list[Any]", value))]
            return _with_children(Node(name, "array", _count(len(items), "item")), items, depth, budget)
        case str():
            shown = json.dumps(value[:_LONGEST], ensure_ascii=False)
            return Node(name, "text", shown if len(value) <= _LONGEST else f"{shown} … ({len(value):,} characters)")
        case bool() | None:
            return Node(name, "word", json.dumps(value))
        case _:
            return Node(name, "number", json.dumps(value))


def _with_children(node: Node, items: list[tuple[str, Any]], depth: int, budget: list[int]) -> Node:
    for name, item in items:
        if budget[0] <= 0 or depth >= _DEEPEST:
            break
        node.children.append(_node(name, item, depth + 1, budget))
    node.left_out = len(items) - len(node.children)
    return node


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"
