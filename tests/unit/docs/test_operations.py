"""What docs/operations.md says is so."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from schemas.workflow.names import SWEEP_SCHEDULE
from settings import Settings
from storage import keys
from temporal.sweep_schedule import SWEEP_INTERVAL
from tests.support.repository import REPOSITORY

PAGE = (REPOSITORY / "docs" / "operations.md").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
BLOCKS = re.findall(r"```\w+\n(.*?)```", PAGE, flags=re.DOTALL)


def block(words: str) -> str:
    """The one code block with these words in it."""
    (found,) = [text for text in BLOCKS if words in text]
    return found


def prefixes_in_use() -> set[str]:
    """What every key that can be built begins with, and that of `Store.check`."""
    built: set[str] = {"check/"}
    for _, make in inspect.getmembers(keys, inspect.isfunction):
        arguments = [
            1 if parameter.annotation == "int" else "x" for parameter in inspect.signature(make).parameters.values()
        ]
        built.add(make(*arguments).partition("/")[0] + "/")
    return built


def test_every_variable_is_one() -> None:
    named = set(re.findall(r"\bCALLBOARD_(?!USER_)[A-Z_]*[A-Z]\b", PAGE))  # user code's may be called anything
    assert named <= {f"CALLBOARD_{field.upper()}" for field in Settings.model_fields}


def test_the_times_that_are_told_are_the_defaults() -> None:
    assert f"`CALLBOARD_DRAIN` seconds ({Settings().drain.total_seconds():g})" in PAGE
    assert (
        f"`stop_grace_period` in `docker-compose.yml` is {COMPOSE['services']['worker']['stop_grace_period'][:-1]} s"
        in PAGE
    )
    kept = Settings()
    days = kept.run_retention.days, kept.artifacts_kept.days
    assert f"--retention {days[0]}d --artifact-retention {days[1]}d" in block("callboard setup-namespace")
    assert f"| `CALLBOARD_RUN_RETENTION` | {days[0]}d |" in PAGE
    assert f"| `CALLBOARD_ARTIFACT_RETENTION` | {'a day longer' if days[1] == days[0] + 1 else ''} |" in PAGE
    assert timedelta(hours=1) == SWEEP_INTERVAL, "which is told as every hour"


def test_the_secrets_of_the_env_file_are_those_that_compose_asks_for() -> None:
    asked = set(re.findall(r"\$\{(\w+):\?", (REPOSITORY / "docker-compose.yml").read_text()))
    assert set(re.findall(r"^(\w+)=", block("POSTGRES_PASSWORD="), flags=re.MULTILINE)) == asked
    assert f"with {('six', 'seven', 'eight')[len(asked) - 6]} secrets" in PAGE
    tls = set(re.findall(r"\$\{(\w+):\?", (REPOSITORY / "hosting/docker-compose.tls.yml").read_text()))
    names = set(re.findall(r"^(\w+)=", block("COMPOSE_FILE="), flags=re.MULTILINE))
    assert names == tls | {"COMPOSE_FILE"}
    files = re.findall(r"^COMPOSE_FILE=(.*)$", block("COMPOSE_FILE="), flags=re.MULTILINE)
    assert all((REPOSITORY / name).is_file() for name in files[0].split(":"))


def test_the_limits_that_are_told_are_those_of_the_compose_file() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| (\d+) (GB|MB) \| ([\d,]+) \|", PAGE, flags=re.MULTILINE)
    assert len(rows) == 8
    for name, number, unit, processes in rows:
        service = COMPOSE["services"][name]
        assert service["mem_limit"] == number + unit[0].lower()
        assert service["pids_limit"] == int(processes.replace(",", ""))
    others = [service for name, service in COMPOSE["services"].items() if name not in {row[0] for row in rows}]
    assert {service["mem_limit"] for service in others if "profiles" not in service} == {"256m"}
    assert {service["pids_limit"] for service in others if "profiles" not in service} == {128, 256}
    shards = COMPOSE["services"]["temporal"]["environment"]["NUM_HISTORY_SHARDS"]
    assert f"divided into {shards} shards (`NUM_HISTORY_SHARDS`)" in PAGE


def test_compose_has_the_services_ports_and_volumes_that_are_named() -> None:
    commands = block("docker compose up")
    assert re.search(r"--rm --volume \S+ deploy /", commands)
    assert "--scale worker=2" in commands
    assert {"api", "worker", "namespace"} <= set(COMPOSE["services"])
    for port in re.findall(r"http://127\.0\.0\.1:(\d+)", PAGE):
        assert any(
            f"127.0.0.1:{port}:" in " ".join(service.get("ports", [])) for service in COMPOSE["services"].values()
        )
    named = re.search(r"Everything is kept in three volumes: (.*)\.$", PAGE, flags=re.MULTILINE)
    assert named is not None
    assert set(re.findall(r"`(\w+)`", named[1])) | {"metrics", "grafana"} == set(COMPOSE["volumes"])
    assert "more, `metrics` and `grafana`." in PAGE


def test_the_namespace_is_set_up_by_a_command_that_takes_these_options() -> None:
    program, command, *arguments = block("callboard setup-namespace").split()
    help_of = [Path(sys.executable).with_name(program), command, "--help"]
    done = subprocess.run(help_of, capture_output=True, text=True, timeout=60)
    assert all(option in done.stdout for option in arguments if option.startswith("--"))
    assert f"the Schedule `{SWEEP_SCHEDULE}`" in PAGE


def test_the_doctor_is_asked_as_it_can_be() -> None:
    program = Path(sys.executable).with_name("callboard")
    done = subprocess.run([program, "doctor", "--help"], capture_output=True, text=True, timeout=60)
    (part,) = re.findall(r"docker compose run --rm (\w+) doctor --part \1`", PAGE)
    assert part in COMPOSE["services"]
    assert f"{part}>" in done.stdout
    assert "--json" in done.stdout


@pytest.mark.parametrize(("who", "column"), [("api", 3), ("worker", 4), ("deploy", 5)])
def test_credentials_are_told_for_every_prefix_that_is_used(who: str, column: int) -> None:
    rows = [
        [cell.strip() for cell in row.split("|")] for row in re.findall(r"^\| `[\w-]+/` \|.*", PAGE, flags=re.MULTILINE)
    ]
    table = {cells[1].strip("`"): cells[column] for cells in rows}
    assert set(table) == prefixes_in_use()
    (policy,) = re.findall(rf"^`{who}-policy\.json`\n\n```json\n(.*?)```", PAGE, flags=re.DOTALL | re.MULTILINE)
    actions: dict[str, set[str]] = {}
    for statement in json.loads(policy)["Statement"]:
        assert statement["Effect"] == "Allow"
        resources = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
        for resource in resources:
            assert resource.startswith("arn:aws:s3:::BUCKET")
            allowed = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            actions.setdefault(resource.partition("BUCKET/")[2].removesuffix("*"), set()).update(allowed)
    verbs = {"read": "s3:GetObject", "write": "s3:PutObject", "delete": "s3:DeleteObject"}
    told = {prefix: {verbs[verb] for verb in cell.split(";")[0].split(", ")} for prefix, cell in table.items() if cell}
    assert actions == {"": {"s3:ListBucket"}, **told}
