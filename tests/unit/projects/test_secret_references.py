"""Where secrets of AuthSessions come from: variables, files as Kubernetes mounts them, a vault over HTTP."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from callboard.projects.secret_references import SecretSources
from callboard.schemas.errors import ConfigurationError
from callboard.schemas.workflow.attempt import ResolvedSecret
from callboard.security.egress import EgressPolicy
from tests.support.constants import LOOPBACK
from tests.support.present import present
from tests.support.webhook_receiver import Reply, answers, closes, hangs, receiver, speaks_nonsense

SECRET = "a-value-that-nobody-may-read"
TOKEN = "the-token-of-the-vault"


async def one(sources: SecretSources, reference: str, variables: Mapping[str, str] | None = None) -> ResolvedSecret:
    return (await sources.resolve([reference], "shop", variables or {}))[reference]


async def test_a_name_stands_for_what_the_project_sees_of_it():
    assert (await one(SecretSources(), "KEY", {"KEY": SECRET})).value == SECRET
    problem = (await one(SecretSources(), "KEY", {"OTHER": SECRET})).problem
    assert problem == "The secret KEY is not there: the project sees no environment variable of this name."


# Files.


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As Kubernetes mounts secrets: each is a link to a file in a folder that is a link itself."""
    real = tmp_path / "secrets" / "shop" / "..2026_11_29"
    real.mkdir(parents=True)
    (real / "password").write_text(f"{SECRET}\n")
    (real.parent / "..data").symlink_to(real.name)
    (real.parent / "password").symlink_to("..data/password")
    return tmp_path / "secrets"


async def test_a_file_is_read_through_the_links_of_a_mount(folder: Path):
    assert (await one(SecretSources(folder), "file:password")).value == SECRET
    (folder / "shop" / "two").mkdir()
    (folder / "shop" / "two" / "lines").write_bytes(b"a\r\nb\r\n")
    assert (await one(SecretSources(folder), "file:two/lines")).value == "a\r\nb", "only the last line end is left out"


@pytest.mark.parametrize(
    "reference",
    ["file:other", "file:link", "file:links/deep/password", "file:two", "file:binary", "file:large", "file:up"],
)
async def test_what_is_no_file_of_the_project_is_not_read(folder: Path, reference: str):
    shop, other = folder / "shop", folder / "other"
    other.mkdir()
    (other / "password").write_text(SECRET)
    (folder.parent / "outside").write_text(SECRET)
    (shop / "link").symlink_to(other / "password")
    (shop / "links").mkdir()
    (shop / "links" / "deep").symlink_to(other)
    (shop / "up").symlink_to("../../outside")
    (shop / "two").mkdir()
    (shop / "binary").write_bytes(b"\xff\xfe")
    (shop / "large").write_text(SECRET * 2_000)
    found = await one(SecretSources(folder), reference)
    assert (found.value, present(found.problem).startswith(f"The secret {reference} is not there: ")) == (None, True)
    assert SECRET not in present(found.problem)


async def test_without_a_folder_it_is_said_what_to_set():
    assert "CALLBOARD_SECRETS_DIR" in present((await one(SecretSources(), "file:password")).problem)


# The vault.


def of_vault(**fields: Any) -> Reply:
    return answers(body=json.dumps({"data": {"data": fields, "metadata": {}}}).encode())


def vault(url: str, *allow: str) -> SecretSources:
    return SecretSources(vault_url=f"{url}/v1/secret/data/", vault_token=TOKEN, egress=EgressPolicy(allow))


async def test_fields_of_a_vault_are_read_below_the_projects_name():
    references = ["vault:logins/anna#password", "vault:logins/anna#user", "vault:logins/anna#number"]
    async with receiver(of_vault(password=SECRET, user="anna", number=7)) as inbox:
        found = await vault(inbox.url, *LOOPBACK).resolve(references, "shop", {})
    assert [found[each].value for each in references] == [SECRET, "anna", None]
    assert "no text in this field" in present(found[references[2]].problem)
    (asked,) = inbox.received
    assert (asked.method, asked.target) == ("GET", "/v1/secret/data/shop/logins/anna"), "once for all fields"
    assert asked.headers["x-vault-token"] == TOKEN


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (answers("403 Forbidden", SECRET.encode()), "answers 403"),
        (answers("404 Not Found", SECRET.encode()), "answers 404"),
        (answers("302 Found", location="http://169.254.169.254/"), "answers 302"),
        (answers(body=SECRET.encode()), "not that of version 2"),
        (answers(body=json.dumps({"data": {"password": SECRET}}).encode()), "not that of version 2"),
        (answers(body=b"[" * 2_000_000), "more than 1048576 bytes"),
        (answers(body=b"[" * 200_000), "not that of version 2"),
        (of_vault(password="\ud800"), "no text in this field"),
        (of_vault(password=SECRET * 2_000), "more than 32768 bytes"),
        (hangs, "within 0.3 seconds"),
        (closes, "does not answer"),
        (speaks_nonsense, "does not answer"),
    ],
)
async def test_a_vault_that_gives_no_value_is_told_and_nothing_that_it_said(
    monkeypatch: pytest.MonkeyPatch, reply: Reply, words: str
):
    if reply is hangs:
        monkeypatch.setattr("callboard.projects.secret_references._VAULT_TIMEOUT", 0.3)
    async with receiver(reply) as inbox:
        found = await one(vault(inbox.url, *LOOPBACK), "vault:anna#password")
    assert found.value is None
    assert words in present(found.problem)
    assert not any(text in present(found.problem) for text in (SECRET, TOKEN))


@pytest.mark.parametrize(
    "path", ["../other/anna", "a/../../other/anna", "%2e%2e/other", "/other", "a?b", "a@b", ".", ""]
)
async def test_no_path_leads_to_secrets_of_others_even_if_it_was_not_checked(folder: Path, path: str):
    references = [f"vault:{path}#password", f"file:{path}", f"{path}!"]
    async with receiver(of_vault(password=SECRET)) as inbox:
        sources = SecretSources(folder, f"{inbox.url}/v1/secret/data", TOKEN, EgressPolicy(LOOPBACK))
        assert await sources.resolve(references, "shop", {f"{path}!": SECRET}) == {}
    assert inbox.received == []


@pytest.mark.parametrize("token", [f"{TOKEN}\n", f"{TOKEN}\r\nx-other: y", f"{TOKEN}é", ""])
def test_a_token_that_no_header_can_have_is_refused_and_not_quoted(token: str):
    with pytest.raises(ConfigurationError, match="CALLBOARD_VAULT_TOKEN") as error:
        SecretSources.of(None, "https://vault.example/v1/secret/data", SecretStr(token), ())
    assert TOKEN not in error.value.message


async def test_a_vault_at_an_address_that_is_not_open_is_not_asked():
    async with receiver(of_vault(password=SECRET)) as inbox:
        found = await one(vault(inbox.url), "vault:anna#password")
    assert "CALLBOARD_EGRESS_ALLOW" in present(found.problem)
    assert inbox.connections == 0
    assert "CALLBOARD_VAULT_URL" in present((await one(SecretSources(), "vault:anna#password")).problem)
