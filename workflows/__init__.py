"""Temporal workflows: deterministic, sequential, no I/O. Each file is one story, read from top to bottom."""
