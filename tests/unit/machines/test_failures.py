"""The contract's words for what happened to an Attempt."""

from __future__ import annotations

import signal
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from machines import failures
from machines.keeping import ChildEnd
from schemas.workflow.base import MESSAGE_LIMIT, STACK_LIMIT
from schemas.workflow.run import ErrorCode, RunError
from security.masking import Masker
from tests.support.machines import attempt_spec

TEXT = st.text(st.characters()) | st.integers(0, 30_000).map(lambda n: "\udc80ä" * n)
KINDS = st.sampled_from(["user", "structural", "non-retryable", "too-big", "browser-gone"])


@given(kind=KINDS, name=TEXT, message=TEXT, stack=TEXT)
def test_whatever_user_code_raised_fits_into_a_history(kind: str, name: str, message: str, stack: str) -> None:
    error, final = failures.of_user_code({"kind": kind, "name": name, "message": message, "stack": stack}, Masker(()))
    assert RunError.model_validate_json(error.model_dump_json()) == error
    assert len(error.message) <= MESSAGE_LIMIT
    assert error.details is not None
    assert len(error.details.get("stack", "")) <= STACK_LIMIT
    assert error.retirable is not final
    assert final is (kind in {"structural", "non-retryable", "too-big"})
    if kind != "browser-gone" and len(message) < MESSAGE_LIMIT / 6:
        assert error.message == message.encode(errors="backslashreplace").decode()


@given(code=st.integers(-64, 255))
def test_every_end_of_a_process_has_a_sentence(code: int) -> None:
    error = failures.crashed(ChildEnd(exit_code=code))
    assert (error.code, error.category, error.retirable) == (
        ErrorCode.SCRIPT_PROCESS_CRASHED,
        "infrastructure",
        True,
    )
    assert error.message.endswith(".")
    if code >= 0:
        assert error.message == f"Process exited unexpectedly with code {code}."


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (ChildEnd(exit_code=-signal.SIGSEGV), "Process was ended by signal SIGSEGV."),
        (ChildEnd(exit_code=-50), "Process was ended by signal 50."),
        (ChildEnd(limit="memory"), "Execution ran out of memory."),
        (ChildEnd(limit="memory", exit_code=-9), "Execution ran out of memory."),
        (ChildEnd(limit="processes"), "Execution was ended: its Machine had more than 1000 processes."),
        (
            ChildEnd(limit="disk"),
            "Execution ran out of disk: the files of its Machine passed the limit of CALLBOARD_MACHINE_DISK.",
        ),
        (ChildEnd(limit="files"), "Execution was ended: its Machine had more than 100000 files and folders."),
        (ChildEnd(), "The Machine's process was lost."),
    ],
)
def test_the_sentence_says_what_is_known(end: ChildEnd, message: str) -> None:
    assert failures.crashed(end).message == message


@pytest.mark.parametrize(("seconds", "told"), [(600, "600"), (0.5, "0.5"), (43_200, "43200")])
def test_a_time_out_names_the_attempts_clock(seconds: float, told: str) -> None:
    error = failures.timed_out(attempt_spec("any", timeout=timedelta(seconds=seconds).total_seconds()), "")
    assert error.code == ErrorCode.SCRIPT_TIMEOUT
    assert error.message == f"The Attempt did not end within {told} seconds."
