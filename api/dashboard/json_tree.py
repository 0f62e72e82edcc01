"""Trees of JSON values that a page can show, however big and deep the values are."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, cast

_MAX_NODES = 1500
"""Largest number of nodes in one tree. The tree says how much is left out, and the file holds all of it."""
_MAX_DEPTH = 30
_MAX_TEXT = 4000
"""Largest number of characters that are shown of one text."""


@dataclass
class TreeNode:
    """One value, with its name in the object, or its index in the array, that holds it."""

    name: str | None
    kind: str
    """Kind of the value: `object`, `array`, `text`, `count` or `word`."""
    text: str = ""
    """Text of the value; for an object or an array, the number of its children."""
    children: list[TreeNode] = field(default_factory=list["TreeNode"])
    left_out: int = 0
    """Number of children that are not shown."""


def build_tree(value: Any) -> TreeNode:
    """Return the tree of a JSON value."""
    budget = [_MAX_NODES]
    return _build_node(None, value, 0, budget)


def _build_node(name: str | None, value: Any, depth: int, budget: list[int]) -> TreeNode:
    budget[0] -= 1
    match value:
        case dict():
            items = [(str(key), item) for key, item in cast("dict[str, Any]", value).items()]
            return _with_children(TreeNode(name, "object", _pluralize(len(items), "field")), items, depth, budget)
        case list():
            items = [(str(index), item) for index, item in enumerate(cast("list[Any]", value))]
            return _with_children(TreeNode(name, "array", _pluralize(len(items), "item")), items, depth, budget)
        case str():
            shown = json.dumps(value[:_MAX_TEXT], ensure_ascii=False)
            return TreeNode(
                name, "text", shown if len(value) <= _MAX_TEXT else f"{shown} … ({len(value):,} characters)"
            )
        case bool() | None:
            return TreeNode(name, "word", json.dumps(value))
        case _:
            return TreeNode(name, "number", json.dumps(value))


def _with_children(node: TreeNode, items: list[tuple[str, Any]], depth: int, budget: list[int]) -> TreeNode:
    for name, item in items:
        if budget[0] <= 0 or depth >= _MAX_DEPTH:
            break
        node.children.append(_build_node(name, item, depth + 1, budget))
    node.left_out = len(items) - len(node.children)
    return node


def _pluralize(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"
