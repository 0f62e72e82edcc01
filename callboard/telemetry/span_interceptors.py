"""The spans of Runs, Attempts and Deliveries, as interceptors of Temporal clients and workers.

The SDK's `OpenTelemetryInterceptor` carries the context of a trace from client to workflow, activity and child. It
makes no spans here: they would be one for each start, signal and activity, in the SDK's words. These are one for each
thing that Callboard's users know. No attribute holds what a caller or a page has written: no parameters, addresses or
messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, override

import temporalio.client
import temporalio.worker
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, StatusCode, Tracer
from opentelemetry.util.types import AttributeValue
from temporalio import activity, workflow
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.workflow import ChildWorkflowHandle

from callboard.schemas.workflow import names
from callboard.telemetry.log_interceptor import work_of

_WORKFLOW_SPANS = {
    names.RUN: "Run",
    names.VALIDATE: "Validate",
    names.CREATE: "Create",
    names.DELIVER: "Delivery",
    names.JOB_RUN: "JobRun",
}
"""Names of the spans of workflows, by type; others have none."""

_ACTIVITY_SPANS = {
    names.ATTEMPT: ("Attempt", SpanKind.INTERNAL),
    names.CHECK: ("Attempt (check)", SpanKind.INTERNAL),
    names.CREATE_LOGIN: ("Attempt (create)", SpanKind.INTERNAL),
    names.RECORD_LOGIN: ("Attempt (record)", SpanKind.INTERNAL),
    names.SEND_DELIVERY: ("Delivery try", SpanKind.CLIENT),
}
"""Names and kinds of the spans of activities, by type; others have none."""

_RUN_TYPES = frozenset({names.RUN, names.VALIDATE, names.CREATE})
"""Workflow types that are Runs, whose memo tells their trace."""


_LOGIN_REQUESTS = frozenset({names.RECREATE, names.UPDATE_LOGIN})
"""Signals by which an AuthSession is asked for a login."""


class StartSpans(temporalio.client.Interceptor):
    """Interceptor of clients that tells each Run its trace, and begins one for each Run of a JobRun."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    @override
    def intercept_client(self, next: temporalio.client.OutboundInterceptor) -> temporalio.client.OutboundInterceptor:
        """Wrap the calls of a client."""
        return _StartSpansOfClient(next, self._tracer)


class _StartSpansOfClient(temporalio.client.OutboundInterceptor):
    def __init__(self, next: temporalio.client.OutboundInterceptor, tracer: Tracer) -> None:
        super().__init__(next)
        self._tracer = tracer

    @override
    async def start_workflow(
        self, input: temporalio.client.StartWorkflowInput
    ) -> temporalio.client.WorkflowHandle[Any, Any]:
        if input.workflow not in _RUN_TYPES:
            return await super().start_workflow(input)
        job_run_id = work_of(input.args)["jobRunId"] if input.workflow == names.RUN else None
        with self._trace_of_its_own(job_run_id):
            input.memo = _with_trace_id(input.memo)
            return await super().start_workflow(input)

    @contextmanager
    def _trace_of_its_own(self, job_run_id: object) -> Generator[None]:
        """Begin a trace for a Run of a JobRun, with a link to the JobRun.

        A JobRun may have a hundred thousand Runs, and no tracing system shows a trace of a million spans.
        """
        if job_run_id is None:
            yield
            return
        current = trace.get_current_span().get_span_context()
        with self._tracer.start_as_current_span(
            "Start of a Run by a JobRun",
            context=Context(),
            kind=SpanKind.PRODUCER,
            links=[Link(current)] if current.is_valid else None,
            attributes={"callboard.job_run_id": str(job_run_id)},
            record_exception=False,
            set_status_on_exception=False,
        ):
            yield


class WorkSpans(temporalio.client.Interceptor, temporalio.worker.Interceptor):
    """Interceptor of workers, which take it from their client: it makes the spans of workflows and activities."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    @override
    def intercept_activity(
        self, next: temporalio.worker.ActivityInboundInterceptor
    ) -> temporalio.worker.ActivityInboundInterceptor:
        """Wrap the activities of a worker."""
        return _SpansOfActivities(next, self._tracer)

    @override
    def workflow_interceptor_class(
        self, input: temporalio.worker.WorkflowInterceptorClassInput
    ) -> type[temporalio.worker.WorkflowInboundInterceptor]:
        """Return the interceptor of workflows, which are made one for each execution."""
        tracer = self._tracer

        class SpansOfWorkflow(_SpansOfWorkflow):
            _tracer = tracer

        return SpansOfWorkflow


class _SpansOfActivities(temporalio.worker.ActivityInboundInterceptor):
    def __init__(self, next: temporalio.worker.ActivityInboundInterceptor, tracer: Tracer) -> None:
        super().__init__(next)
        self._tracer = tracer

    @override
    async def execute_activity(self, input: temporalio.worker.ExecuteActivityInput) -> Any:
        info = activity.info()
        named = _ACTIVITY_SPANS.get(info.activity_type)
        if named is None:
            return await super().execute_activity(input)
        name, kind = named
        with self._tracer.start_as_current_span(
            name,
            kind=kind,
            attributes={**_attributes(input.args), "callboard.try": info.attempt},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            with _ends(span):
                outcome = await super().execute_activity(input)
                _set_outcome(span, outcome)
            return outcome


class _SpansOfWorkflow(temporalio.worker.WorkflowInboundInterceptor):
    """Makes the span of a workflow, from its start to its close.

    The provider gives it the same id in each replay, and sends it only when the workflow closes for the first time; not
    when it is evicted from a cache, nor when it is replayed.
    """

    _tracer: Tracer

    def __init__(self, next: temporalio.worker.WorkflowInboundInterceptor) -> None:
        super().__init__(next)
        self.requested_by: Context | None = None
        """Context of the last signal that asked for a login; without a trace, it is empty."""

    @override
    def init(self, outbound: temporalio.worker.WorkflowOutboundInterceptor) -> None:
        super().init(_ChildrenOfWorkflow(outbound, self))

    @override
    async def execute_workflow(self, input: temporalio.worker.ExecuteWorkflowInput) -> Any:
        info = workflow.info()
        name = _WORKFLOW_SPANS.get(info.workflow_type)
        if name is None:
            return await super().execute_workflow(input)
        attributes = _attributes(input.args)
        if info.workflow_type in _RUN_TYPES:
            attributes["callboard.run_id"] = info.workflow_id
        span = self._tracer.start_span(name, attributes=attributes)
        token = otel_context.attach(trace.set_span_in_context(span))
        try:
            with _ends(span):
                outcome = await super().execute_workflow(input)
                _set_outcome(span, outcome)
        except GeneratorExit:
            # The execution was evicted from a cache and is thrown away, outside of the workflow and of its context.
            raise
        except BaseException as error:
            otel_context.detach(token)
            # After a defect, Temporal repeats the step until the workflow can go on: then comes the span's end.
            if not isinstance(error, Exception) or workflow.is_failure_exception(error):
                span.end()
            raise
        otel_context.detach(token)
        span.end()
        return outcome

    @override
    async def handle_signal(self, input: temporalio.worker.HandleSignalInput) -> None:
        if input.signal in _LOGIN_REQUESTS:
            self.requested_by = otel_context.get_current()
        await super().handle_signal(input)


class _ChildrenOfWorkflow(temporalio.worker.WorkflowOutboundInterceptor):
    def __init__(self, next: temporalio.worker.WorkflowOutboundInterceptor, parent: _SpansOfWorkflow) -> None:
        super().__init__(next)
        self._parent = parent

    @override
    async def start_child_workflow(
        self, input: temporalio.worker.StartChildWorkflowInput
    ) -> ChildWorkflowHandle[Any, Any]:
        with _attached(self._context_of_child()):
            if input.workflow in _RUN_TYPES:
                input.memo = _with_trace_id(input.memo)
            return await super().start_child_workflow(input)

    def _context_of_child(self) -> Context | None:
        """Return the context of a child that this workflow starts on behalf of others; None if it is its own.

        An AuthSession lives for months. The Create that it starts belongs to the Run or request that has asked for it.
        """
        return self._parent.requested_by if workflow.info().workflow_type == names.AUTH_SESSION else None


@contextmanager
def _attached(context: Context | None) -> Generator[None]:
    if context is None:
        yield
        return
    token = otel_context.attach(context)
    try:
        yield
    finally:
        otel_context.detach(token)


def _with_trace_id(memo: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return the memo of a Run that is started now, with its trace."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return memo
    return {**(memo or {}), names.MEMO_TRACE_ID: trace.format_trace_id(context.trace_id)}


def _attributes(arguments: Sequence[Any]) -> dict[str, AttributeValue]:
    """Return the attributes of a span: the ids and names of its Run, Attempt or Delivery."""
    work = work_of(arguments)
    named = {
        "callboard.project": work["project"],
        "callboard.run_id": work["runId"],
        "callboard.attempt": work["attempt"],
        "callboard.job_run_id": work["jobRunId"],
        "callboard.api": getattr(arguments[0], "api", None) if arguments else None,
    }
    return {name: value for name, value in named.items() if value is not None}


@contextmanager
def _ends(span: Span) -> Generator[None]:
    """Say of the span how the work in the block ended, if it ends by an exception."""
    try:
        yield
    except (asyncio.CancelledError, CancelledError):
        span.set_attribute("callboard.status", "canceled")
        raise
    except ApplicationError as error:
        _set_failed(span, error.type)
        for outcome in error.details[:1]:
            _set_outcome(span, outcome)
        raise
    except Exception as error:
        _set_failed(span, type(error).__name__)
        raise


def _set_outcome(span: Span, outcome: object) -> None:
    """Say how an Attempt, a Run or a Delivery has ended."""
    status = getattr(outcome, "status", None)
    if isinstance(status, str):
        span.set_attribute("callboard.status", str(status))
    code = getattr(getattr(outcome, "error", None), "code", None)
    if code is not None:
        _set_failed(span, str(code))


def _set_failed(span: Span, kind: str | None) -> None:
    """Mark the span as failed, with the kind of the error. Its message may hold what a page has said."""
    span.set_status(StatusCode.ERROR)
    if kind:
        span.set_attribute("error.type", kind)
