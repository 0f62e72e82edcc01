"""`callboard env-vars`: where it goes, and that no value is an argument."""

from pathlib import Path

import pytest

from tests.support.fake_api import FakeApi

VARIABLE = {
    "name": "SHOP_KEY",
    "secret": True,
    "scopes": ["PUBLISHED"],
    "value": None,
    "updatedAt": "2026-11-24T10:00:00Z",
    "updatedBy": "operator-3fa94c21",
}


@pytest.mark.parametrize(
    ("options", "place"),
    [(["-p", "shop"], "projects/shop/env-vars"), (["--workspace"], "env-vars")],
)
def test_variables_of_project_and_workspace_are_set_listed_and_deleted(api: FakeApi, options: list[str], place: str):
    api.answers = [(200, VARIABLE)]
    done = api.callboard("env-vars", "set", "SHOP_KEY", "--secret", *options, text="two\nlines\n")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "SHOP_KEY is set for PUBLISHED.\n")
    api.answers = [(200, {"envVars": [VARIABLE]})]
    listed = api.callboard("env-vars", "list", *options)
    assert listed.stdout.splitlines()[1].split() == [
        *("SHOP_KEY", "PUBLISHED", "2026-11-24T10:00:00Z", "operator-3fa94c21", "***")
    ]
    api.answers = [(204, b"")]
    assert api.callboard("env-vars", "delete", "SHOP_KEY", *options).exit_code == 0
    assert [(asked.method, asked.path, asked.body) for asked in api.asked] == [
        ("PUT", f"{place}/SHOP_KEY", {"value": "two\nlines", "secret": True}),
        ("GET", place, None),
        ("DELETE", f"{place}/SHOP_KEY", None),
    ]


def test_outside_of_a_project_both_ways_to_say_where_are_named(
    api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    code, said = api.error("env-vars", "list")
    assert code == 2
    assert "-p NAME" in said
    assert "--workspace" in said


def test_scopes_are_sent_and_a_value_as_an_argument_is_refused(api: FakeApi):
    api.answers = [(200, VARIABLE)]
    scopes = ["--scope", "authoring", "--scope", "PUBLISHED"]
    assert api.callboard("env-vars", "set", "A", *scopes, "-p", "shop", text="1\r\n").exit_code == 0
    assert api.asked[0].body == {"value": "1", "secret": False, "scopes": ["AUTHORING", "PUBLISHED"]}
    assert api.callboard("env-vars", "set", "A", "value", "-p", "shop").exit_code == 2
    assert api.error("env-vars", "list", "--workspace", "-p", "shop")[0] == 2
    assert len(api.asked) == 1
