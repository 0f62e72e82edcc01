"""The sizes of a Machine that a project can ask for by `replication.size` (docs/contract.md, section 2.1)."""

GIB = 1024**3

MEMORY_OF_SIZE = {"standard": 2 * GIB, "large": 4 * GIB, "x-large": 8 * GIB}
"""Bytes of memory of a Machine with its browser, by its size, the smallest first."""
