"""`callboard handoffs`: what waits for a person, and the answers, by the id of the Handoff alone."""

import json
from typing import Any

import pytest

from callboard.cli.dev import _report
from callboard.cli.exit_codes import ExitCode
from callboard.dev.events import Event
from tests.support.fake_api import FakeApi

ASKED: dict[str, Any] = {
    "id": "r1.1.1",
    "runId": "r1",
    "kind": "input",
    "attempt": 1,
    "instructions": "The code of the text message",
    "fields": [{"name": "code", "pattern": "\\d{6}", "secret": True}],
    "status": "open",
    "createdAt": "2026-12-01T10:00:00Z",
    "expiresAt": "2026-12-01T10:05:00Z",
}
DONE = {**ASKED, "status": "completed"}


def test_those_that_wait_are_listed_or_all_of_a_run(api: FakeApi):
    api.answers = [(200, {"handoffs": [ASKED]}), (200, {"handoffs": [DONE]})]
    shown = api.callboard("handoffs", "list", "-p", "shop").stdout
    assert all(text in shown for text in ("r1.1.1", "open", "code", "The code of the text message"))
    assert json.loads(api.callboard("handoffs", "list", "-p", "shop", "--run", "r1", "--json").stdout)
    assert [asked.path.rpartition("shop/")[2] for asked in api.asked] == ["handoffs", "runs/r1/handoffs"]


def test_an_answer_goes_to_the_run_that_the_id_names(api: FakeApi):
    api.answers = [(200, DONE)]
    assert api.callboard("handoffs", "answer", "r1.1.1", "code=49=3", "-p", "shop").stdout.endswith("completed.\n")
    (asked,) = api.asked
    assert asked.path.endswith("runs/r1/handoffs/r1.1.1/complete")
    assert asked.body == {"values": {"code": "49=3"}}


def test_values_that_are_not_given_are_asked_for_and_secrets_are_not_shown(api: FakeApi):
    asked = {**ASKED, "instructions": "The code\x1b[2J\x1b]0;title\x07"}
    api.answers = [(200, {"handoffs": [asked]}), (200, DONE)]
    done = api.callboard("handoffs", "answer", "r1.1.1", "-p", "shop", text="493027\n")
    assert api.asked[-1].body == {"values": {"code": "493027"}}
    assert ("493027" in done.output, "\x1b" in done.output, "The code" in done.output) == (False, False, True)


def test_for_something_in_the_browser_a_link_is_shown_and_the_person_says_when_it_is_done(api: FakeApi):
    link = {"url": "https://callboard.example.com/answer#cb1.secret", "expiresAt": "2026-12-01T10:05:00Z"}
    api.answers = [(200, {"handoffs": [{**ASKED, "kind": "browser", "fields": []}]}), (200, link), (200, DONE)]
    done = api.callboard("handoffs", "answer", "r1.1.1", "-p", "shop", text="y\n")
    assert link["url"] in done.output
    assert done.stdout.endswith("Handoff r1.1.1 is completed.\n")
    assert [asked.path.rpartition("/")[2] for asked in api.asked] == ["handoffs", "link", "complete"]
    assert api.asked[-1].body == {"values": {}}
    api.answers = [(200, {"handoffs": [{**ASKED, "kind": "browser", "fields": []}]}), (200, link)]
    api.callboard("handoffs", "answer", "r1.1.1", "-p", "shop", text="n\n")
    assert api.asked[-1].path.endswith("/link"), "nothing is completed"


def test_a_decline_has_its_reason(api: FakeApi):
    api.answers = [(200, {**ASKED, "status": "declined"})]
    api.callboard("handoffs", "decline", "r1.1.1", "--reason", "Not my phone.", "-p", "shop")
    (asked,) = api.asked
    assert (asked.path.rpartition("/")[2], asked.body) == ("decline", {"reason": "Not my phone."})


def test_a_link_is_printed(api: FakeApi):
    link = {"url": "https://callboard.example.com/answer#cb1.secret", "expiresAt": "2026-12-01T10:05:00Z"}
    api.answers = [(200, link)]
    assert api.callboard("handoffs", "open", "r1.1.1", "-p", "shop").stdout == f"{link['url']}\n"
    assert api.asked[-1].path.endswith("runs/r1/handoffs/r1.1.1/link")


def test_what_is_no_value_is_refused_before_anything_is_asked(api: FakeApi):
    code, sentence = api.error("handoffs", "answer", "r1.1.1", "493027", "-p", "shop")
    assert (code, "493027" in sentence, api.asked) == (ExitCode.USAGE, False, [])


def test_callboard_dev_tells_of_one_without_its_control_sequences(capsys: pytest.CaptureFixture[str]):
    _report(Event("asks       shop/list  The code\x07", "handoff"), quiet=False, as_json=False)
    assert capsys.readouterr().out == "asks       shop/list  The code\n"
