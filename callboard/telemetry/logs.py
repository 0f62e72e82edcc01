"""The logs of Callboard's own processes, which go to standard error: as text, or as JSON objects, one on each line."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, cast, override

from pythonjsonlogger.json import JsonFormatter

from callboard.telemetry.log_context import current_log_fields
from callboard.telemetry.tracing import current_trace_id

FORMAT_VARIABLE = "CALLBOARD_LOG_FORMAT"
"""The variable of `Settings.log_format`. It is read here as well, since wrong settings are logged, too."""

_TEXT_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(work)s%(message)s"
_RUN_TYPES = ("Run", "Validate", "Create")
"""Types of workflows that are Runs: their ids are ids of Runs."""

_log = logging.getLogger("callboard")


def wants_json_logs() -> bool:
    """Tell whether the variable asks for JSON; the settings refuse a word that they do not know."""
    return os.environ.get(FORMAT_VARIABLE, "").strip() == "json"


def configure_logging(*, level: int = logging.INFO) -> None:
    """Write the log of this process, from `level` on, to standard error in the format that the settings name.

    As JSON, also warnings of Python and exceptions that nobody has caught are records.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonFormatter(json_ensure_ascii=False) if wants_json_logs() else _TextFormatter(_TEXT_FORMAT))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it tells of each call, and a live view has many a second
    if wants_json_logs():
        logging.captureWarnings(capture=True)
        sys.excepthook = _log_uncaught
        threading.excepthook = _log_uncaught_of_thread


def log_fatal(program: str, message: str) -> None:
    """Tell why this process ends: as a sentence for people, or as a record where the log is JSON."""
    if wants_json_logs():
        _log.critical("%s: %s", program, message)
    else:
        print(f"{program}: {message}", file=sys.stderr)  # noqa: T201  # this is the last output of the process


class _TextFormatter(logging.Formatter):
    """Puts the Run and Attempt that a record belongs to before its message, unless the message names the Run."""

    @override
    def formatMessage(self, record: logging.LogRecord) -> str:
        fields = _fields_of(record)
        named = [f"{name} {fields[key]}" for name, key in (("Run", "runId"), ("Attempt", "attempt")) if key in fields]
        names_run = str(fields.get("runId", "")) in record.message
        record.work = "" if names_run or not named else f"[{', '.join(named)}] "
        return super().formatMessage(record)


class _JsonFormatter(JsonFormatter):
    """Writes a record as a JSON object: when, how grave, who, what, and what it belongs to.

    Whatever else libraries add to their records is left out: nobody has looked at whether it is secret.
    """

    @override
    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        log_data["time"] = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        log_data["level"] = record.levelname
        log_data["logger"] = record.name
        log_data["message"] = record.message or str(record.msg)
        log_data.update(_fields_of(record))
        if (trace_id := current_trace_id()) is not None:
            log_data["traceId"] = trace_id
        if (exception := message_dict.get("exc_info")) is not None:
            log_data["exception"] = exception
        if (stack := message_dict.get("stack_info")) is not None:
            log_data["stack"] = stack


def _fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return what a record belongs to: as this task knows, as Temporal's SDK says of workflows, and as it says."""
    fields: dict[str, Any] = dict(current_log_fields())
    details = getattr(record, "temporal_workflow", None)
    if isinstance(details, Mapping):
        of_workflow = cast("Mapping[str, Any]", details)
        kind = "runId" if of_workflow.get("workflow_type") in _RUN_TYPES else "workflowId"
        fields[kind] = of_workflow.get("workflow_id")
    for name in ("request", "audit"):
        said = getattr(record, name, None)
        if isinstance(said, Mapping):
            fields |= cast("Mapping[str, Any]", said)
    return fields


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    _log.critical("An exception was not caught", exc_info=(kind, error, trace))


def _log_uncaught_of_thread(failed: threading.ExceptHookArgs) -> None:
    if failed.exc_value is not None and not issubclass(failed.exc_type, SystemExit):
        name = failed.thread.name if failed.thread else "that has ended"
        exc_info = (failed.exc_type, failed.exc_value, failed.exc_traceback)
        _log.critical("An exception was not caught in thread %s", name, exc_info=exc_info)
