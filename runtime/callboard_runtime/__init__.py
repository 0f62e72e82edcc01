"""What user code imports from Callboard beside `intuned_runtime`, and how a project's code is loaded and called."""

from .errors import NotRetryable, RetryLater

__all__ = ["NotRetryable", "RetryLater"]
