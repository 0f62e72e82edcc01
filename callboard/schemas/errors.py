"""The error classes. Every error that Callboard raises on purpose is one of these.

docs/contract.md, section 5.1, describes the error answers that callers get. `retirable` has the published spelling:
true means that the same request may succeed later.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

Category = Literal["infrastructure", "execution", "auth", "user", "billing"]


class CallboardError(Exception):
    """The base class of all errors. `message` is a text for people; `details` must be serializable as JSON."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal-server-error"
    category: ClassVar[Category] = "infrastructure"
    retirable: ClassVar[bool] = False

    def __init__(self, message: str, *, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class BadRequest(CallboardError):
    """The request is wrong: `details.path` names the field, and `details.expected` says what it should be."""

    status, code, category = 400, "bad-request", "user"


class PayloadTooLarge(BadRequest):
    """The body is too large. The contract has no separate code for this error."""

    status = 413


class RequestTimeout(BadRequest):
    """The request took too long to arrive. The contract has no separate code for this error."""

    status, retirable = 408, True


class UriTooLong(BadRequest):
    """The address of the request is too long."""

    status = 414


class HeaderFieldsTooLarge(BadRequest):
    """The headers of the request are too large, or there are too many of them."""

    status = 431


class EgressRefused(BadRequest):
    """A caller names an address that is neither public nor allowed by the operator, so Callboard must not use it."""


class Unauthorized(CallboardError):
    """The API key is missing or unknown, was revoked, or has ended."""

    status, code, category = 401, "unauthorized", "user"


class Forbidden(CallboardError):
    """The key does not allow the call, or the project does not (`apiAccess.enabled` is false)."""

    status, code, category = 403, "forbidden", "user"


class NotFound(CallboardError):
    """There is no such workspace, project or thing in it, or the key may not see the project."""

    status, code, category = 404, "not-found", "user"


class MethodNotAllowed(CallboardError):
    """The path exists, but does not have this method."""

    status, code, category = 405, "method-not-allowed", "user"


class Conflict(CallboardError):
    """The request contradicts what is there, such as an id that is taken, or a deploy that is under way."""

    status, code, category = 409, "conflict", "user"


class NotATable(Conflict):
    """A result has no rows: its Run has not completed, or what it returned is no table."""

    code = "not-a-table"


class NothingFailed(Conflict):
    """A JobRun has nothing to run again: all its Runs have completed."""

    code = "nothing-failed"


class TooMany(CallboardError):
    """Too many wrong keys came from the address, or too much is asked of the project; `Retry-After` says how long."""

    status, code, category, retirable = 429, "bad-request", "user", True

    def __init__(self, message: str, *, retry_after: int | None = None, details: dict[str, Any] | None = None) -> None:
        super().__init__(message, details=details)
        self.retry_after = retry_after
        """Seconds to wait: the header `Retry-After` of the answer."""


class InternalServerError(CallboardError):
    """Callboard has a defect."""

    retirable = True


class StoreError(InternalServerError):
    """The artifact store answered with an error; the operation may be repeated."""


class ArtifactMissing(StoreError):
    """What Temporal refers to is not in the artifact store any more; repeating does not help."""

    retirable = False


class MachineError(InternalServerError):
    """A Machine could not be started, or its keeper was lost; another Machine may work."""


class ConfigurationError(InternalServerError):
    """A setting of the installation is missing or wrong; the message names the variable and what to set."""

    retirable = False


class SealError(InternalServerError):
    """A sealed secret cannot be opened: it was changed, or it was sealed for another owner. Repeating does not help."""

    retirable = False


class StackError(InternalServerError):
    """The embedded stack of `callboard dev` could not be started, or one of its processes keeps failing."""


class Unavailable(CallboardError):
    """Temporal or the artifact store cannot be reached; the same request may be repeated later."""

    status, retirable = 503, True


class ProjectError(CallboardError):
    """A project folder cannot be deployed; the message names the file and what to do."""

    status, code, category = 400, "bad-request", "user"


class SettingsError(ProjectError):
    """Keys of a project's settings file are wrong.

    The message reads `FILE: KEY: what was expected, what was found; KEY: …`; the details are those of the first key.
    """

    def __init__(self, file: str, key: str, expected: str, *others: tuple[str, str]) -> None:
        where = f"{file}: {key}" if key else file
        also = "".join(f"; {other}: {text}" for other, text in others)
        super().__init__(f"{where}: {expected}{also}", details={"file": file, "path": key, "expected": expected})
