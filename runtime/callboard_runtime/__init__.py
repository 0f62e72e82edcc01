"""What user code imports from Callboard beside `intuned_runtime`, and how a project's code is loaded and called."""

from .authenticator import totp
from .errors import HandoffDeclined, HandoffTimeout, HandoffUnavailable, NotRetryable, RetryLater
from .handoffs import hand_over, request_input

__all__ = [
    "HandoffDeclined",
    "HandoffTimeout",
    "HandoffUnavailable",
    "NotRetryable",
    "RetryLater",
    "hand_over",
    "request_input",
    "totp",
]
