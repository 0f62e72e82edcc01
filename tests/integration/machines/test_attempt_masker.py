"""What the errors of an Attempt do not tell."""

from __future__ import annotations

import json
from typing import Any

import pytest

from callboard.machines.attempt_spec import Proxy, masker_for
from callboard.machines.machine_attempt import AnswerRequest
from callboard.schemas.errors import BadRequest
from callboard.schemas.workflow.attempt import AttemptKind
from callboard.schemas.workflow.base import MESSAGE_LIMIT
from tests.support.automations import automations
from tests.support.machines import Run, attempt_spec, failure, value
from tests.support.recording_site import cookie, state

PROJECT = {
    "api/raises.py": """
        class TellsError(Exception): pass

        async def automation(page, params):
            raise TellsError(params["message"])
    """,
    **automations(
        asks="""
            from intuned_runtime import get_auth_session_parameters
            return await get_auth_session_parameters()
        """,
    ),
    "auth-sessions/create.py": """
        async def create(page, params):
            raise PermissionError(f"cannot log in as {params['user']} with {params['password']}: {params}")
    """,
}
PASSWORD = 'p"ss/wörd 9'


async def raised(run: Run, message: str, **fields: Any) -> Any:
    return failure(await run("raises", {"message": message}, **fields))


async def test_masks_secrets_of_order_state_and_proxy_in_message_and_stack(quiet: Run) -> None:
    given = state(
        cookie("sid", "cookie-value"),
        cookie("theme", "dark-mode", httpOnly=False),
        local={"http://shop.test": {"token": "local-value", "view": "all-items"}},
        session={"http://shop.test": {"csrf": "session-value"}},
    )
    words = ["listed-value", "cookie-value", "dark-mode", "local-value", "all-items", "session-value", "proxy-word"]
    failed = await raised(
        quiet,
        " ".join(words),
        secrets=("listed-value",),
        storage_state=json.dumps(given),
        proxy=Proxy("http://127.0.0.1:9", "ada", "proxy-word"),
    )
    assert failed.message == "TellsError: *** *** dark-mode *** all-items *** *** (api/raises.py:5)"
    assert failed.stack.endswith("TellsError: *** *** dark-mode *** all-items *** ***\n")


async def test_a_create_that_fails_does_not_tell_its_password_in_any_spelling(quiet: Run) -> None:
    parameters = {"user": "bob", "password": PASSWORD}
    failed = failure(await quiet("", parameters, kind=AttemptKind.CREATE, secrets=(PASSWORD,)))
    told = "cannot log in as bob with ***: {'user': 'bob', 'password': '***'}"
    assert failed.message == f"PermissionError: {told} (auth-sessions/create.py:3)"
    told = failed.error.model_dump_json()
    assert "wörd" not in json.loads(told)["message"]
    assert "w\\u00f6rd" not in told


async def test_a_secret_cut_by_the_message_limit_does_not_leak_in_part(quiet: Run) -> None:
    secret = "0123456789-abcdef"
    for before in range(MESSAGE_LIMIT - 40, MESSAGE_LIMIT, 5):
        failed = await raised(quiet, "." * before + secret, secrets=(secret,))
        assert "012345" not in failed.error.model_dump_json()


def test_what_is_no_state_has_no_secrets() -> None:
    for text in ("{", "[]", "null", '{"cookies": 1}'):
        assert not masker_for(attempt_spec("any", storage_state=text))


def answering(answer: str | BadRequest) -> AnswerRequest:
    """Answer for an AuthSession that has parameters, or has not."""

    async def answer_request(operation: str, arguments: dict[str, Any]) -> str:
        assert (operation, arguments) == ("auth_session_parameters", {})
        if isinstance(answer, BadRequest):
            raise answer
        return answer

    return answer_request


BOB = {"auth_session_id": "bob"}


async def test_user_code_gets_the_parameters_that_its_auth_session_was_made_from(quiet: Run) -> None:
    answer = answering(json.dumps({"user": "bob", "code": ["\ud800", 2**70]}))
    assert value(await quiet("asks", run_info=BOB, answer_request=answer)) == {"user": "bob", "code": ["\ud800", 2**70]}


@pytest.mark.parametrize(
    ("run_info", "says"),
    [
        (BOB, "AuthSession 'bob' was recorded: it has none."),
        ({}, "get_auth_session_parameters: this Run has no AuthSession."),
    ],
)
async def test_where_there_are_none_it_is_told_why(quiet: Run, run_info: dict[str, str], says: str) -> None:
    answer = answering(BadRequest("AuthSession 'bob' was recorded: it has none."))
    failed = failure(await quiet("asks", run_info=run_info, answer_request=answer))
    assert (failed.name, failed.message) == ("RuntimeError", f"RuntimeError: {says} (api/asks.py:3)")


async def test_a_report_and_an_order_show_no_state_when_they_are_printed(quiet: Run) -> None:
    asked = attempt_spec("raises", {"message": "x"}, storage_state='{"cookies": "needle"}', secrets=("needle",))
    assert "needle" not in repr(asked)
    assert "needle" not in repr(await raised(quiet, "needle", secrets=("needle",)))
