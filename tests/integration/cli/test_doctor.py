"""`callboard doctor` finds what is missing, suggests a fix, and shows no secret."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from callboard.cli.doctor import host, keys
from callboard.cli.doctor.findings import Finding, Status
from callboard.cli.doctor.store import check_artifact_store
from callboard.cli.doctor.target import Installation
from callboard.cli.doctor.temporal import check_temporal
from callboard.dev import ports
from callboard.dev.temporal import TemporalServer
from callboard.machines.isolation import find_isolation
from callboard.schemas.workflow import names
from callboard.settings import Settings
from tests.support.processes import callboard_process
from tests.support.temporal_servers import set_up_namespace

GOOD_KEY = "a-key-of-this-test-of-no-worth"


def run(*options: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return callboard_process("doctor", *options, cwd=cwd, **({"CALLBOARD_DATA_DIR": str(cwd / "data")} | environment))


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.check: finding for finding in findings}


# The command.


async def test_where_nothing_is_set_up_every_failure_comes_with_what_to_do(tmp_path: Path) -> None:
    nobody = f"127.0.0.1:{ports.choose_ports({'': 0})['']}"
    done = run("--json", cwd=tmp_path, CALLBOARD_TEMPORAL_ADDRESS=nobody, CALLBOARD_ROLE="control")
    assert (done.returncode, done.stderr) == (1, "")
    told = json.loads(done.stdout)
    assert told["ok"] is False
    status = {check["check"]: check["status"] for check in told["checks"]}
    assert status == {
        "uv": "ok",
        "Temporal": "failed",
        "Artifact store": "warning",
        "API keys": "failed",
        "Secret key": "failed",
        "Webhook secrets": "warning",
        "Projects": "warning",
    }
    for check in told["checks"]:
        assert (check["fix"] is not None) is (check["status"] in {"failed", "warning"}), check


@pytest.mark.parametrize(
    ("part", "needless"),
    [
        ("api", ["Browser", "Browser sandbox", "Isolation", "uv", "TypeScript", "Webhook secrets"]),
        ("worker", ["API keys"]),
    ],
)
async def test_for_one_part_nothing_is_asked_that_only_the_other_needs(
    server: TemporalServer, tmp_path: Path, part: str, needless: list[str]
) -> None:
    await set_up_namespace(server, "one-part")
    done = run(
        *("--part", part, "--json"),
        cwd=tmp_path,
        CALLBOARD_TEMPORAL_ADDRESS=server.address,
        CALLBOARD_TEMPORAL_NAMESPACE="one-part",
    )
    told = json.loads(done.stdout)["checks"]
    assert {"Temporal", "Artifact store", "Workers"} <= {check["check"] for check in told}
    assert not set(needless) & {check["check"] for check in told}


async def test_piped_it_is_plain_lines_without_a_secret(tmp_path: Path, server: TemporalServer) -> None:
    done = run(
        cwd=tmp_path,
        CALLBOARD_TEMPORAL_ADDRESS=server.address,
        CALLBOARD_TEMPORAL_NAMESPACE="not-made-yet",
        CALLBOARD_ROLE="control",
        CALLBOARD_API_KEYS=f"{GOOD_KEY}-1,{GOOD_KEY}-2",
        CALLBOARD_SECRET_KEY=f"{GOOD_KEY}-3",
    )
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert "ok       API keys: 2 keys are set; the first is the newest." in lines
    there = lines.index("failed   Namespace: There is no namespace 'not-made-yet'.")
    assert lines[there + 1].startswith("         -> Run `callboard setup-namespace`.")
    assert lines[-1] == "Checked the settings of the environment: 1 of 8 checks failed."
    assert GOOD_KEY not in done.stdout
    assert "\x1b" not in done.stdout


# This host.


@pytest.mark.parametrize("role", ["all", "browser"])
async def test_a_browser_that_shows_pages_is_named_with_its_version(role: Any) -> None:
    found = await host.check_browser(Settings(role=role))
    assert found.status is Status.OK, found
    assert found.message.startswith("Chromium ")


@pytest.mark.parametrize(
    ("user", "refusal", "status", "fix"),
    [
        (
            0,
            "Chromium refuses to use it as root",
            Status.WARNING,
            "Install bubblewrap with `callboard setup`, or run workers as a user other than root.",
        ),
        (1234, "user 1234 may not make the namespaces that it needs", Status.WARNING, "Allow user 1234 to create user"),
        (1234, None, Status.OK, None),
    ],
)
async def test_whether_chromiums_sandbox_is_on_is_told_and_how_to_have_it(
    monkeypatch: pytest.MonkeyPatch, user: int, refusal: str | None, status: Status, fix: str | None
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: user)

    def answer(_browser: Path, *, boxed: bool) -> str | None:  # the name is the real one's
        return refusal

    monkeypatch.setattr(host, "sandbox_refusal", answer)  # the real one has tests of its own
    found = await host.check_sandbox(Settings())
    assert found.status is status
    assert (refusal or "is on") in found.message
    assert found.fix is None if fix is None else (found.fix or "").startswith(fix)


@pytest.mark.parametrize(
    ("settings", "refusal", "status", "said"),
    [
        (Settings(), None, Status.OK, "full: "),
        (Settings(), "no tun", Status.WARNING, "open: "),
        (Settings(), "no tun", Status.WARNING, "no network of their own here: no tun"),
        (Settings(isolation="none"), None, Status.WARNING, "CALLBOARD_ISOLATION says so"),
        (Settings(isolation="full"), "no tun", Status.FAILED, "CALLBOARD_ISOLATION is full, and Machines can have no"),
    ],
)
async def test_the_level_of_isolation_is_told_with_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, refusal: str | None, status: Status, said: str
) -> None:
    found_here = partial(find_isolation, box_refusal=lambda: None, network_refusal=lambda: refusal)
    monkeypatch.setattr(host, "find_isolation", found_here)
    found = await host.check_isolation(settings)
    assert found.status is status
    assert said in found.message
    assert (found.fix is not None) is (status in {Status.WARNING, Status.FAILED})


async def test_without_a_browser_nothing_is_known_of_its_sandbox(tmp_path: Path) -> None:
    found = await host.check_sandbox(Settings(chromium=tmp_path / "none"))
    assert found.status is Status.WARNING


async def test_a_browser_that_is_not_there_is_told(tmp_path: Path) -> None:
    found = await host.check_browser(Settings(chromium=tmp_path / "none"))
    assert found.status is Status.FAILED
    assert f"CALLBOARD_CHROMIUM names {tmp_path / 'none'}, which is no browser that starts" in found.message
    assert found.fix is not None
    assert found.fix.startswith("Name the executable")


async def test_a_browser_that_starts_and_shows_no_page_is_told(tmp_path: Path) -> None:
    blind = tmp_path / "blind"
    blind.write_text("#!/bin/sh\necho Chromium 1.0\n")
    blind.chmod(0o755)
    found = await host.check_browser(Settings(chromium=blind))
    assert found.status is Status.FAILED
    assert found.message.startswith(f"{blind} shows no page: ")


async def test_a_uv_that_does_not_start_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("callboard.projects.uv.find_uv_bin", lambda: str(tmp_path / "none"))
    found = await host.check_uv()
    assert found.status is Status.FAILED
    assert found.message.startswith("uv does not start: ")


# Keys.


def test_keys_that_are_too_short_or_none_are_told_and_not_shown() -> None:
    def secrets(*values: str) -> list[SecretStr]:
        return [SecretStr(value) for value in values]

    good, short = Settings(api_keys=secrets(GOOD_KEY), secret_key=secrets(GOOD_KEY)), secrets(GOOD_KEY, "too-short")
    assert [keys.check_api_keys(good).status, keys.check_secret_key(good).status] == [Status.OK, Status.OK]
    for found, status in (
        (keys.check_api_keys(Settings(api_keys=short)), Status.FAILED),
        (keys.check_secret_key(Settings(secret_key=short)), Status.FAILED),
        (keys.check_webhook_secrets(Settings(webhook_secrets=secrets("whsec_too-short"))), Status.FAILED),
    ):
        assert found.status is status
        assert found.fix is not None
        assert "too-short" not in found.message + found.fix


@pytest.mark.parametrize("check", [keys.check_secret_key, keys.check_webhook_secrets])
def test_the_way_to_make_a_key_makes_one_that_is_good(check: Any) -> None:
    fix = check(Settings()).fix
    command = fix.partition("`")[2].partition("`")[0].replace("python3", sys.executable)
    made = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    secrets = [SecretStr(made)]
    assert check(Settings(secret_key=secrets, webhook_secrets=secrets)).status is Status.OK


# The artifact store.


async def test_a_store_that_works_is_left_as_it_was(tmp_path: Path) -> None:
    found = await check_artifact_store(Settings(artifacts=str(tmp_path)))
    assert found.status is Status.OK
    assert list(tmp_path.iterdir()) == []


async def test_a_folder_that_does_not_exist_yet_is_not_created(tmp_path: Path) -> None:
    found = await check_artifact_store(Settings(artifacts=str(tmp_path / "data" / "artifacts")))
    assert found.status is Status.WARNING
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_names_an_installation_the_data_folder_may_be_named(tmp_path: Path) -> None:
    folder = Settings(data_dir=tmp_path)
    assert Installation(folder, dev=False).hint == (
        f"No `callboard dev` runs on {tmp_path}. If one runs on another data folder, name that with --data."
    )
    assert Installation(folder, dev=True).hint == ""
    assert Installation(Settings(temporal_address="temporal:7233"), dev=False).hint == ""


async def test_a_store_that_does_not_work_is_told_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    nobody = f"http://127.0.0.1:{ports.choose_ports({'': 0})['']}"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    places: list[tuple[dict[str, Any], str]] = [
        ({"artifacts": str(tmp_path / "file")}, "Not a directory"),
        ({"artifacts": "s3://bucket", "artifacts_endpoint": nobody}, f"{nobody} cannot be reached"),
        ({"artifacts": "s3://"}, "is not the name of a bucket"),
        ({"artifacts": "gs://bucket"}, "cannot be kept at gs://"),
    ]
    for fields, reason in places:
        found = await check_artifact_store(Settings(**fields))
        assert found.status is Status.FAILED
        assert reason in found.message
        assert "CALLBOARD_ARTIFACTS" in (found.fix or "")


# Temporal.


async def test_a_namespace_that_is_set_up_is_well(server: TemporalServer) -> None:
    settings, _ = await set_up_namespace(server, "well")
    findings, client = await check_temporal(settings)
    assert {finding.check: finding.status for finding in findings} == dict.fromkeys(
        ("Temporal", "Namespace", "Search attributes", "Sweeps"), Status.OK
    )
    found = by_name(findings)
    assert found["Namespace"].message == "well: Runs are kept for 7 days after they end"
    assert found["Sweeps"].message == "Artifacts are removed 8 days after the end of their Run"
    assert client is not None


async def test_encryption_without_a_key_is_told_before_temporal_is_asked() -> None:
    (found,), client = await check_temporal(Settings(encrypt_payloads=True))
    assert (found.check, found.status, client) == ("Temporal", Status.FAILED, None)
    assert found.message.startswith("CALLBOARD_ENCRYPT_PAYLOADS is on, and")


async def test_what_is_not_as_it_was_set_is_told(server: TemporalServer) -> None:
    settings, client = await set_up_namespace(server, "otherwise", run_retention="30d")
    handle = client.get_schedule_handle(names.SWEEP_SCHEDULE)
    await handle.pause()
    found = by_name((await check_temporal(settings))[0])
    assert found["Namespace"].message.endswith(
        "kept for 7 days after they end, but CALLBOARD_RUN_RETENTION is 30 days."
    )
    assert found["Sweeps"].message == "The Schedule is paused: artifacts are not removed."
    await handle.delete()
    sweeps = by_name((await check_temporal(settings))[0])["Sweeps"]
    assert (sweeps.status, sweeps.fix) == (Status.WARNING, "Run `callboard setup-namespace`.")
