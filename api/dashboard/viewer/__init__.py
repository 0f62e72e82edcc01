"""Playwright's trace viewer, on an origin of its own, because it shows content of strange sites."""
