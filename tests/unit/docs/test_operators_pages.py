"""Files and commands that the docs show are those that the code and Compose use."""

import inspect
import re
from typing import Any

import pytest
import yaml

from callboard.storage import object_keys
from tests.support.repository import REPOSITORY
from tests.support.s3_policies import documented

PAGES = {
    path.name: path.read_text() for path in [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
}


def shown_env(page: str) -> str:
    """The file `.env` that a page shows."""
    (text,) = re.findall(r"^`\.env`\n\n```sh\n(.*?)```", PAGES[page], flags=re.DOTALL | re.MULTILINE)
    return text


@pytest.mark.parametrize(
    ("page", "compose", "more"),
    [("install.md", "docker-compose.yml", set()), ("open-it.md", "hosting/docker-compose.tls.yml", {"COMPOSE_FILE"})],
)
def test_the_env_file_has_what_compose_asks_for(page: str, compose: str, more: set[str]):
    asked = set(re.findall(r"\$\{(\w+):\?", (REPOSITORY / compose).read_text()))
    assert set(re.findall(r"^(\w+)=", shown_env(page), flags=re.MULTILINE)) == asked | more


def test_the_compose_files_that_are_named_are_there():
    (named,) = re.findall(r"^COMPOSE_FILE=(.*)$", shown_env("open-it.md"), flags=re.MULTILINE)
    assert all((REPOSITORY / name).is_file() for name in named.split(":"))


def test_compose_has_the_services_and_ports_that_are_shown():
    services: dict[str, Any] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())["services"]
    published = " ".join(port for service in services.values() for port in service.get("ports", []))
    for page in ("install.md", "monitor.md"):
        for port in re.findall(r"http://127\.0\.0\.1:(\d+)", PAGES[page]):
            assert f"127.0.0.1:{port}:" in published
    for page in PAGES.values():
        assert set(re.findall(r"docker compose (?:exec|run --rm) (\w[\w-]*)", page)) <= services.keys()


def test_the_policies_cover_every_prefix_of_the_store():
    built = {"check/", *(prefix.partition("/")[0] + "/" for prefix in object_keys.OF_PROJECTS)}
    for _, make in inspect.getmembers(object_keys, inspect.isfunction):
        arguments = [
            1 if parameter.annotation == "int" else "x" for parameter in inspect.signature(make).parameters.values()
        ]
        built.add(make(*arguments).partition("/")[0] + "/")
    allowed: set[str] = set()
    for who in ("api", "control", "browser", "deploy"):
        for statement in documented(who, "BUCKET"):
            resources = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
            allowed |= {resource.partition("BUCKET/")[2].partition("*")[0] for resource in resources} - {""}
    assert allowed == built
