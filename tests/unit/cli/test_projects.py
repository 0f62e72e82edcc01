"""`callboard projects`: what its commands about versions ask for, and what they say of the answers."""

import json
from typing import Any

import pytest

from tests.support.fake_api import FakeApi

VERSION = "0f1e2d3c4b5a6978"
OF = "projects/shop"


def version(**fields: Any) -> dict[str, Any]:
    known = {"version": VERSION, "current": False, "at": "2026-11-24T10:00:00Z", "promotedAt": None}
    return {**known, **dict.fromkeys(("by", "message", "commit", "promotedBy")), **fields}


@pytest.mark.parametrize(
    ("command", "answer", "said", "asked"),
    [
        (["promote", VERSION], (200, version()), f"Version {VERSION} of shop is deployed.", ("POST", "/promote")),
        (["rollback"], (200, version()), f"Version {VERSION} of shop is deployed.", ("POST", "/rollback")),
    ],
)
def test_a_command_moves_and_says_where_to(
    api: FakeApi, command: list[str], answer: tuple[int, Any], said: str, asked: tuple[str, str]
):
    api.answers = [answer]
    done = api.callboard("projects", *command, "-p", "shop")
    assert (done.exit_code, done.stdout) == (0, f"{said}\n")
    (request,) = api.asked
    assert request.method == asked[0]
    assert request.path.startswith(OF)
    assert request.path.endswith(asked[1])


def test_versions_say_who_has_deployed_what_and_all_pages_are_read(api: FakeApi):
    mine = version(current=True, by="anna@desk", message="Read prices", commit=f"{'7f' * 20}-dirty")
    api.answers = [(200, {"versions": [mine], "nextCursor": "x"}), (200, {"versions": [version()], "nextCursor": None})]
    done = api.callboard("projects", "versions", "-p", "shop")
    first, second = done.stdout.splitlines()[1:]
    assert all(text in first for text in (VERSION, "deployed", "anna@desk", "7f7f7f7f7f7f-dirty", "Read prices"))
    assert VERSION in second
    assert "deployed" not in second
    assert [each.path for each in api.asked] == [f"{OF}/versions?limit=20", f"{OF}/versions?cursor=x&limit=19"]


def test_files_that_differ_are_named_with_a_sign(api: FakeApi):
    lists = {"added": ["a.py"], "removed": ["b.py"], "changed": ["c.py"]}
    api.answers = [(200, {"version": VERSION, "since": "1" * 16, "known": True, "packages": True, **lists})]
    done = api.callboard("projects", "diff", VERSION, "1" * 16, "-p", "shop")
    assert done.stdout.splitlines() == ["+ a.py", "- b.py", "~ c.py", "~ packages, or Python"]
    assert api.asked[0].path == f"{OF}/versions/{VERSION}/changes?since={'1' * 16}"


@pytest.mark.parametrize(
    ("options", "typed", "confirm"),
    [([], "shop\n", "shop"), ([], "shpo\n", "shpo"), (["--yes"], None, "shop"), (["--confirm", "x"], None, "x")],
)
def test_a_delete_sends_the_name_that_was_typed(api: FakeApi, options: list[str], typed: str | None, confirm: str):
    api.answers = [(204, b"")]
    done = api.callboard("projects", "delete", "shop", "--cancel-runs", *options, text=typed)
    assert (done.exit_code, done.stdout.endswith("Deleted project shop.\n")) == (0, True)
    assert (api.asked[0].method, api.asked[0].path) == ("DELETE", f"{OF}?confirm={confirm}&openRuns=cancel")


def test_a_delete_without_an_answer_is_none_and_one_that_goes_on_says_so(api: FakeApi):
    assert api.callboard("projects", "delete", "shop", text="").exit_code != 0
    assert api.asked == []
    api.answers = [(202, {"status": "deleting"})]
    assert api.callboard("projects", "delete", "shop", "-y").stdout == "Project shop is being deleted.\n"


def test_apis_are_listed_with_what_they_take(api: FakeApi):
    required = {"properties": {"url": {}, "pages": {}}, "required": ["url"]}
    itself = {"$ref": "#/$defs/Tree", "$defs": {"Tree": {"properties": {"child": {}}}}}
    found = [
        {"name": "list", "docstring": "Lists.\n\nAll.", "inputSchema": required, "needsAuthSession": False},
        {"name": "tree", "docstring": None, "inputSchema": itself, "needsAuthSession": False},
        {"name": "untold", "docstring": None, "inputSchema": None, "needsAuthSession": False},
    ]
    answer = {"version": VERSION, "validateParameters": False, "apis": found}
    api.answers = [(200, answer)]
    lines = api.callboard("projects", "apis", "-p", "shop").stdout.splitlines()
    assert api.asked[0].path == f"{OF}/apis"
    assert [line.split() for line in lines[1:]] == [
        ["list", "url,", "pages?", "Lists."],
        ["tree", "child?"],
        ["untold"],
    ]
    api.answers = [(200, answer)]
    assert json.loads(api.callboard("projects", "apis", "-p", "shop", "--json").stdout) == answer
