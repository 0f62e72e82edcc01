"""What user code imports from the runtime (contract section 3.2): Callboard's own implementation of those names."""

from .context import IntunedContext, RunContext, run_info
from .errors import NonRetryableError
from .helpers import attempt_store, extend_payload, extend_timeout

__all__ = [
    "IntunedContext",
    "NonRetryableError",
    "RunContext",
    "attempt_store",
    "extend_payload",
    "extend_timeout",
    "run_info",
]
