"""Where the tables of measurements are printed."""

from __future__ import annotations

import sys

from rich.console import Console

console = Console(width=None if sys.stdout.isatty() else 160)
"""As wide as the terminal. What is written to a pipe or a file has room for a row in a line."""
