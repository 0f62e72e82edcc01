"""Exceptions that user code raises to tell the runtime something."""


class NonRetryableError(Exception):
    """Raise it when no further Attempt can help: the Run fails at once."""
