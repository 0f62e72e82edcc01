"""The text that stands in place of a secret wherever people may read."""

MASK = "***"
