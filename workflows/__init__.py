"""Temporal workflows, which are deterministic and sequential, and do no I/O. Each file is read from top to bottom."""
