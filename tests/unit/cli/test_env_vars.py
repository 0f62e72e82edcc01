"""`callboard env-vars`: where it goes, and that no value is an argument."""

import json
from pathlib import Path

import pytest

from tests.support.api_in_process import Api, MakeApi
from tests.support.commands import NOWHERE, Commands, callboard, error_of


@pytest.fixture
async def api(make_project_api: MakeApi) -> Api:
    """One with variables of its own."""
    return await make_project_api({})


@pytest.mark.parametrize("place", [("-p", "shop"), ("--workspace",)])
async def test_variables_of_project_and_workspace_are_set_listed_and_deleted(cli: Commands, place: tuple[str, ...]):
    done = await cli("env-vars", "set", "SHOP_KEY", "--secret", *place, text="two\nlines\n")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "SHOP_KEY is set for PUBLISHED.\n")
    name, scopes, _, by, value = (await cli.said("env-vars", "list", *place)).splitlines()[1].split()
    assert (name, scopes, by.partition("-")[0], value) == ("SHOP_KEY", "PUBLISHED", "operator", "***")
    other = ("--workspace",) if place[0] == "-p" else ("-p", "shop")
    assert len((await cli.said("env-vars", "list", *other)).splitlines()) == 1
    await cli.said("env-vars", "delete", "SHOP_KEY", *place)
    assert len((await cli.said("env-vars", "list", *place)).splitlines()) == 1


def test_outside_of_a_project_both_ways_to_say_where_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    code, said = error_of(callboard("env-vars", "list", **NOWHERE))
    assert code == 2
    assert "-p NAME" in said
    assert "--workspace" in said


async def test_scopes_are_sent_with_what_comes_without_its_line_end(cli: Commands):
    scopes = ["--scope", "authoring", "--scope", "PUBLISHED"]
    await cli.said("env-vars", "set", "A", *scopes, "-p", "shop", text="1\r\n")
    await cli.said("env-vars", "set", "B", "-p", "shop", text="two\nlines\n")
    listed = json.loads(await cli.said("env-vars", "list", "-p", "shop", "--json"))["envVars"]
    assert [(each["name"], each["value"], set(each["scopes"])) for each in listed] == [
        ("A", "1", {"AUTHORING", "PUBLISHED"}),
        ("B", "two\nlines", {"PUBLISHED"}),
    ]


def test_a_value_as_an_argument_is_refused():
    assert callboard("env-vars", "set", "A", "value", "-p", "shop", **NOWHERE).exit_code == 2
    assert error_of(callboard("env-vars", "list", "--workspace", "-p", "shop", **NOWHERE))[0] == 2
