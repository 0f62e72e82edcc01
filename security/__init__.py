"""Keeping secrets: the ring of keys that seals them, the keys of callers, and masking for what people read."""
