"""Playwright's trace viewer, on an origin of its own: what it shows was made by strangers."""
