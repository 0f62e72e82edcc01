"""What user code imports from the runtime (docs/contract.md, section 3.2), in Callboard's own implementation."""

from .attributes import AttributeValue, delete_attribute, set_attribute
from .context import IntunedContext, RunContext, run_info
from .deferred import EnsureBrowserFunction, deferred_browser
from .helpers import (
    NonRetryableError,
    attempt_store,
    extend_payload,
    extend_timeout,
    get_auth_session_parameters,
)
from .persistent import persistent_store
from .platform import PlatformOnlyError, get_ai_gateway_config, send_message_to_agent

__all__ = [
    "AttributeValue",
    "EnsureBrowserFunction",
    "IntunedContext",
    "NonRetryableError",
    "PlatformOnlyError",
    "RunContext",
    "attempt_store",
    "deferred_browser",
    "delete_attribute",
    "extend_payload",
    "extend_timeout",
    "get_ai_gateway_config",
    "get_auth_session_parameters",
    "persistent_store",
    "run_info",
    "send_message_to_agent",
    "set_attribute",
]
