"""Keep secrets: seal them with a ring of keys, check the keys of callers, and mask what people read."""
