"""The contract's words for what happened to an Attempt."""

from __future__ import annotations

import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.machines import attempt_errors
from callboard.machines.attempt_spec import Version
from callboard.machines.keeper_process import ChildEnd
from callboard.schemas.workflow.base import MESSAGE_LIMIT, STACK_LIMIT
from callboard.schemas.workflow.run import ErrorCode, RunError
from callboard.security.masking import Masker
from tests.support.machines import attempt_spec

TEXT = st.text(st.characters()) | st.integers(0, 30_000).map(lambda n: "\udc80ä" * n)
ELSEWHERE = Version("shop", "1", Path("/nonexistent"), 2 * 1024**3, 1024, 800)
GOTO = '  File "api/list.py", line 3, in automation\n    await page.goto(url)\n    ^^^^^^^^^^^^^^^\n'
IN_A_LIBRARY = '  File "bs4/__init__.py", line 9, in parse\n    raise ValueError\n'
KINDS = st.sampled_from(["user", "structural", "non-retryable", "retry-later", "too-big", "browser-gone"])


@given(kind=KINDS, name=TEXT, message=TEXT, stack=TEXT)
def test_whatever_user_code_raised_fits_into_a_history(kind: str, name: str, message: str, stack: str) -> None:
    told = {"kind": kind, "name": name, "message": message, "stack": stack}
    error, final = attempt_errors.of_user_code(told, ELSEWHERE, Masker(()))
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
    error = attempt_errors.crashed(ChildEnd(exit_code=code), ELSEWHERE)
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
    assert attempt_errors.crashed(end, ELSEWHERE).message == message


@pytest.mark.parametrize(("seconds", "told"), [(600, "600"), (0.5, "0.5"), (43_200, "43200")])
def test_a_time_out_names_the_attempts_clock(seconds: float, told: str) -> None:
    spec = attempt_spec("any", timeout=timedelta(seconds=seconds).total_seconds())
    error = attempt_errors.timed_out(spec, ELSEWHERE, "")
    assert error.code == ErrorCode.SCRIPT_TIMEOUT
    assert error.message == f"The Attempt did not end within {told} seconds."


@pytest.fixture
def shop(tmp_path: Path) -> Version:
    (tmp_path / "shop/api").mkdir(parents=True)
    (tmp_path / "shop/api/list.py").touch()
    (tmp_path / "outside.py").touch()
    return Version("shop", "1", tmp_path / "shop", 2 * 1024**3, 1024, 800)


def _raised(version: Version, message: str, stack: str, **more: Any) -> str:
    told = {"kind": "user", "name": "KeyError", "message": message, "stack": stack, **more}
    return attempt_errors.of_user_code(told, version, Masker(["s3cret-pass"]))[0].message


def test_an_exception_says_where_in_the_project_it_was_raised(shop: Version) -> None:
    assert _raised(shop, "KeyError: 'url'", GOTO) == "KeyError: 'url' (api/list.py:3)"
    assert _raised(shop, "KeyError: 'url'", GOTO + IN_A_LIBRARY) == "KeyError: 'url' (api/list.py:3)"
    assert _raised(shop, "KeyError: 'url'", IN_A_LIBRARY) == "KeyError: 'url'"
    timeout = "TimeoutError: Page.goto: Timeout 5ms exceeded.\nCall log:\n  - navigating"
    told = "TimeoutError: Page.goto: Timeout 5ms exceeded. (api/list.py:3)\nCall log:\n  - navigating"
    assert _raised(shop, timeout, GOTO) == told
    assert _raised(shop, "X: no", GOTO, kind="browser-gone").endswith("The automation saw: X: no (api/list.py:3)")


@pytest.mark.parametrize(
    "frame", ["step (api/list.ts:12:5)", "api/list.ts:12:5", "async Foo.step [as a (b)] (api/list.ts:12:5)"]
)
def test_a_stack_of_javascript_tells_the_innermost_place_first(shop: Version, frame: str) -> None:
    (shop.folder / "api/list.ts").touch()
    stack = (
        "Error: no\n    at parse (node_modules/zod/index.js:9:1)\n    at Array.map (<anonymous>)\n"
        f"    at {frame}\n    at async handler (api/list.ts:40:3)"
    )
    assert _raised(shop, "Error: no\nCause: Error: why", stack) == "Error: no (api/list.ts:12)\nCause: Error: why"
    told = attempt_errors.timed_out(attempt_spec("list"), shop, f"waits for page.click\n    at {frame}").message
    assert told.endswith("; it stood at api/list.ts:12.")


def test_only_files_of_the_project_are_places(shop: Version) -> None:
    for path in (str(shop.folder / "api/list.py"), "../outside.py", "api/../../outside.py", "api/\0", "x" * 5000):
        assert _raised(shop, "KeyError: 1", GOTO.replace("api/list.py", path)) == "KeyError: 1"
        assert _raised(shop, "Error: 1", f"Error: 1\n    at step ({path}:3:1)") == "Error: 1"


def test_the_place_stays_where_a_message_or_a_stack_is_cut(shop: Version) -> None:
    message = _raised(shop, "KeyError: " + "x" * MESSAGE_LIMIT, GOTO)
    assert len(message) == MESSAGE_LIMIT
    assert message.endswith("x (api/list.py:3)")
    assert _raised(shop, "E", f'st.py", line 1, in automation\n    cut()\n{GOTO}') == "E (api/list.py:3)"


def test_secrets_are_masked_in_messages_and_in_the_source_of_a_place(shop: Version) -> None:
    assert _raised(shop, "ValueError: s3cret-pass", GOTO) == "ValueError: *** (api/list.py:3)"
    spec = attempt_spec("list", secrets=("s3cret-pass",))
    message = attempt_errors.timed_out(spec, shop, GOTO.replace("url", "'s3cret-pass'")).message
    assert "s3cret-pass" not in message
    assert "page.goto('***')" in message


def test_a_time_out_says_where_the_automation_stood(shop: Version) -> None:
    message = attempt_errors.timed_out(attempt_spec("list", timeout=5), shop, GOTO).message
    assert message == "The Attempt did not end within 5 seconds; it stood at api/list.py:3 (`await page.goto(url)`)."


def test_memory_names_what_was_used_the_limit_and_the_cure(shop: Version) -> None:
    end = ChildEnd(limit="memory", exit_code=-9, used=2 * 1024**3 + 30_000_000)
    assert attempt_errors.crashed(end, shop).message == (
        "Execution ran out of memory: its Machine used 2.03 GiB of 2 GiB. Set `replication.size` of the project's "
        "settings to `large` (4 GiB) or `x-large` (8 GiB), or hold less at once."
    )
    told = {"kind": "over-limit", "limit": "memory", "used": 2 * 1024**3, "stack": GOTO}
    assert "of 2 GiB; it stood at api/list.py:3 (`await page.goto(url)`). Set " in (
        attempt_errors.of_user_code(told, shop, Masker(()))[0].message
    )
    largest = Version("shop", "1", shop.folder, 8 * 1024**3, 1024, 800)
    message = attempt_errors.crashed(ChildEnd(limit="memory", used=8 * 1024**3), largest).message
    assert message == "Execution ran out of memory: its Machine used 8 GiB of 8 GiB."
