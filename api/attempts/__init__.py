"""Attempts of a Run, and what they leave: record, log, trace, screenshot, and live pictures."""
