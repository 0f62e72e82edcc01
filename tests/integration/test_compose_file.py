"""docker-compose.yml is a good file of its kind, and what it runs does what it should.

There need be no container engine: what can be run without one is, with the programs that the images hold.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml
from temporalio.testing import WorkflowEnvironment

from callboard.dev import ports
from callboard.dev import temporal as embedded
from callboard.dev.child import SupervisedProcess
from callboard.dev.temporal import CADDYFILE, CODEC_PATH
from callboard.machines import network_launcher
from callboard.machines.capacity import host_capacity
from callboard.machines.machine_limits import MOST_THREADS
from callboard.machines.network import network_refusal
from callboard.machines.network_launcher import Plan
from callboard.machines.reach import Reach
from callboard.schemas.errors import StoreError
from callboard.settings import Settings
from callboard.storage.factory import open_store
from callboard.temporal.client import connect
from callboard.temporal.namespace import NamespaceState, Retention, inspect_namespace
from callboard.temporal.sweep_schedule import SweepSchedule
from tests.support import seccomp, unprivileged_user
from tests.support.compose_file import filled
from tests.support.polling import until
from tests.support.processes import execute
from tests.support.repository import REPOSITORY

BESIDE = Path(sys.executable).parent
"""The folder of the programs of the development tools."""
DOCKERFILE = (REPOSITORY / "hosting" / "Dockerfile").read_text()
COMPOSE_TEXT = (REPOSITORY / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
(_NAMED,) = [option for option in SERVICES["worker"]["security_opt"] if option.startswith("seccomp=")]
PROFILE = REPOSITORY / _NAMED.removeprefix("seccomp=")
IMAGE = "${CALLBOARD_IMAGE:-callboard:local}"
SECRETS = {
    "CALLBOARD_API_KEYS",
    "CALLBOARD_SECRET_KEY",
    "CALLBOARD_WEBHOOK_SECRETS",
    "POSTGRES_PASSWORD",
    "ARTIFACTS_API_SECRET",
    "ARTIFACTS_WORKER_SECRET",
    "ARTIFACTS_DEPLOY_SECRET",
}


def inline_dockerfiles() -> dict[str, str]:
    """The Dockerfiles that are part of the compose file, by their services."""
    builds = {name: service["build"] for name, service in SERVICES.items() if "build" in service}
    inline = {name: build["dockerfile_inline"] for name, build in builds.items() if "dockerfile_inline" in build}
    return {name: filled(dockerfile, {}) for name, dockerfile in inline.items()}


def test_hadolint_finds_nothing_in_dockerfiles_that_are_part_of_it() -> None:
    for dockerfile in inline_dockerfiles().values():
        done = subprocess.run([BESIDE / "hadolint", "-"], input=dockerfile, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout) == (0, ""), done.stdout


def test_a_linter_of_security_finds_only_what_is_meant() -> None:
    program = shutil.which("compose-lint", path=f"{BESIDE}:{os.environ['PATH']}")
    if program is None:
        pytest.skip("compose-lint is not installed.")
    command = [program, "--format", "json", REPOSITORY / "docker-compose.yml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    found = {(each["service"], each["rule_id"], each["severity"]) for each in json.loads(done.stdout)["findings"]}
    serious = {(service, rule) for service, rule, severity in found if severity in {"high", "critical"}}
    # Boxes mount, which Docker's AppArmor profile forbids. The other is a name, as of a user.
    boxing, ours = ("worker", "deploy"), ("api", "worker", "deploy")
    assert serious == {*((service, "CL-0009") for service in boxing), *((service, "CL-0020") for service in ours)}


@pytest.mark.parametrize("name", ["docker-compose.yml", "hosting/docker-compose.tls.yml"])
def test_the_compose_file_is_one(name: str) -> None:
    command = [BESIDE / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", REPOSITORY / name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


def test_every_image_that_is_not_ours_has_a_version() -> None:
    versioned = r"[\w./-]+:v?\d+(\.\d+){0,2}"
    digest = r"\$\{[A-Z_]+_DIGEST:-\}"
    for name, service in SERVICES.items():
        if service.get("build", {}).get("context") == ".":
            assert service["image"] == IMAGE, name
            assert service["build"]["args"] == {"DEBIAN_DIGEST": "${DEBIAN_DIGEST:-}"}
        elif "build" in service:
            assert service["image"] == f"callboard-{name}:local"
            assert len(re.findall(digest, service["build"]["dockerfile_inline"])) == 2
        else:
            assert re.fullmatch(versioned + digest, service["image"]), name
    for image in re.findall(r"^FROM (\S+)", DOCKERFILE, flags=re.MULTILINE):
        assert image == "debian:13-slim${DEBIAN_DIGEST}"
    for name, dockerfile in inline_dockerfiles().items():
        images = re.findall(r"^FROM (\S+)|--from=(\S+)", dockerfile, flags=re.MULTILINE)
        assert images
        assert all(re.fullmatch(versioned, image or copied) for image, copied in images), name


def test_only_worker_and_deploy_have_docker_s_profile_with_more_rules() -> None:
    profile: dict[str, Any] = json.loads(PROFILE.read_text())
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    added = [rule for rule in profile["syscalls"] if rule.get("comment", "").startswith("Added for ")]
    assert [rule["names"] for rule in added] == [
        ["clone"],
        ["unshare"],
        ["setns"],
        ["chroot", "mount", "pivot_root", "umount2"],
    ]
    assert all(rule["action"] == "SCMP_ACT_ALLOW" for rule in added)
    for name, service in SERVICES.items():
        if name not in {"worker", "deploy"}:
            options = service.get("security_opt", [])
            assert not [each for each in options if each.startswith(("seccomp", "apparmor", "systempaths"))]
            assert "devices" not in service


@pytest.mark.skipif(seccomp.library() is None, reason="libseccomp is not installed.")
def test_the_worker_s_profile_lets_an_unprivileged_user_make_a_box() -> None:
    """On the kernel itself, as in the container: the user is not root, and gains no privileges."""

    def run(*command: str) -> tuple[int, str]:
        under = [sys.executable, "-m", "tests.support.seccomp", str(PROFILE), *command]
        done = subprocess.run(under, **unprivileged_user.options(), capture_output=True, text=True, timeout=60)
        return done.returncode, done.stderr

    if subprocess.run(["unshare", "--user", "true"], **unprivileged_user.options(), check=False).returncode != 0:
        pytest.skip("Users other than root may not make user namespaces here.")
    boxed = ["bwrap", "--unshare-user", "--unshare-pid", "--unshare-ipc", "--ro-bind", "/", "/", "--dev", "/dev"]
    inner = ["unshare", "--user", "--map-root-user", "--mount", "--ipc", "--pid", "--fork", "--mount-proc", "true"]
    assert run(*boxed, "--proc", "/proc", *inner) == (0, "")
    assert run("unshare", "--user", "--cgroup", "true")[0] != 0, "what nobody needs stays forbidden"
    if network_refusal() is not None or not Path("/dev/net/tun").stat().st_mode & stat.S_IWOTH:
        pytest.skip(f"Users other than root cannot have networks of their own here: {network_refusal()}.")
    plan = Plan(shutil.which("pasta") or "", shutil.which("ip") or "/usr/sbin/ip", Reach.of(), None)
    assert run(sys.executable, "-I", "-S", network_launcher.__file__, plan.to_json()) == (0, "")


def test_workers_and_deploys_have_what_full_isolation_needs() -> None:
    for service in (SERVICES["worker"], SERVICES["deploy"]):
        assert {"apparmor=unconfined", "systempaths=unconfined"} <= set(service["security_opt"])
        assert service["devices"] == ["/dev/net/tun"]
    (installed,) = re.findall(r"chromium-headless-shell.*", DOCKERFILE)
    (line,) = [line for line in DOCKERFILE.splitlines() if installed in line]
    assert {"bubblewrap", "iproute2", "passt"} <= set(line.split())


def test_machines_reach_no_service_of_this_installation() -> None:
    """All of them are in one network, which is closed as a whole: their addresses change, and some have no password."""
    (config,) = COMPOSE["networks"]["default"]["ipam"]["config"]
    for service in ("worker", "deploy"):
        assert SERVICES[service]["environment"]["CALLBOARD_BROWSER_DENY"] == config["subnet"]
    assert not [name for name, service in SERVICES.items() if "networks" in service or "network_mode" in service]


def test_our_services_gain_no_privileges() -> None:
    ours = [service for service in SERVICES.values() if service["image"] == IMAGE]
    assert len(ours) == 4
    for service in ours:
        assert service["cap_drop"] == ["ALL"]
        assert service["read_only"] is True
    assert all("no-new-privileges:true" in service["security_opt"] for service in SERVICES.values())


def test_every_service_has_limits_and_the_worker_has_room_for_machines(tmp_path: Path) -> None:
    for name, service in SERVICES.items():
        assert re.fullmatch(r"\d+[mg]", service["mem_limit"]), name
        assert service["pids_limit"] > 0, name
    worker = SERVICES["worker"]
    (tmp_path / "memory.max").write_text(str(int(worker["mem_limit"].removesuffix("g")) * 1024**3))
    machines = min(6, host_capacity(tmp_path))  # fewer, if this host has few cores
    assert machines * MOST_THREADS < worker["pids_limit"], "no Machine can use up what others need"


def test_the_init_process_is_closed_to_its_own_user() -> None:
    """A program that its user cannot read makes a process that its user cannot look into."""
    assert re.search(r"&& chmod 0711 /usr/bin/tini \\", DOCKERFILE)


def test_only_this_host_reaches_a_port() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in published)


def test_services_wait_for_what_they_need() -> None:
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert SERVICES[other]["healthcheck"]["test"], f"{name} waits for {other}"
            else:
                assert how["condition"] == "service_completed_successfully"
                assert SERVICES[other].get("restart", "no") != "unless-stopped", f"{other} never completes"
    mounts = [mount for service in SERVICES.values() for mount in service.get("volumes", [])]
    assert {mount.partition(":")[0] for mount in mounts if mount[0] != "/"} == set(COMPOSE["volumes"])


def test_secrets_come_from_outside_and_have_no_default() -> None:
    used = re.findall(r"(?<!\$)\$\{([^\s}$]+)", COMPOSE_TEXT)
    assert {name.partition(":?")[0] for name in used if ":?" in name} == SECRETS
    choices = {re.split(r":[-+]", name)[0] for name in used if ":?" not in name}
    # Without its password, Grafana alone refuses to start: Compose would refuse all of the file.
    assert {name for name in choices if not name.endswith("_DIGEST")} == {
        "GRAFANA_PASSWORD",
        "CALLBOARD_IMAGE",
        "CALLBOARD_WORKSPACE_ID",
        "CALLBOARD_ENCRYPT_PAYLOADS",
        "CALLBOARD_RUN_RETENTION",
        "CALLBOARD_ARTIFACT_RETENTION",
        "CALLBOARD_VERSION_RETENTION",
        "CALLBOARD_AUDIT_RETENTION",
    }
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search(r"SECRET|PASSWORD|PWD|KEY", name) and name != "AWS_ACCESS_KEY_ID":  # a name, as of a user
                assert re.fullmatch(r'\$\{[^}]*\}|("callboard-\w+,\$\{\w+:\?\}",?)+', value), name


def test_our_services_are_the_commands_that_everybody_runs() -> None:
    assert json.loads(re.findall(r"^ENTRYPOINT (.*)$", DOCKERFILE, flags=re.MULTILINE)[-1])[-1] == "callboard"
    for name, command in (("api", "api"), ("worker", "worker"), ("namespace", "setup-namespace")):
        assert SERVICES[name]["command"] == [command]
        done = subprocess.run([BESIDE / "callboard", command, "--help"], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        given = set(SERVICES[name]["environment"])
        known = {f"CALLBOARD_{field.upper()}" for field in Settings.model_fields}
        assert {variable for variable in given if not variable.startswith("AWS_")} <= known


def test_a_worker_is_given_the_time_to_drain() -> None:
    drain = int(SERVICES["worker"]["environment"]["CALLBOARD_DRAIN"])
    assert int(SERVICES["worker"]["stop_grace_period"].removesuffix("s")) >= drain + 15


def test_temporal_is_tuned_as_the_embedded_one() -> None:
    tuned = yaml.safe_load(COMPOSE["configs"]["temporal"]["content"])
    values = {f"{name}={json.dumps(entries[0]['value'])}" for name, entries in tuned.items()}
    assert values == set(embedded.DYNAMIC_CONFIG)
    (config,) = SERVICES["temporal"]["configs"]
    assert config["target"] == SERVICES["temporal"]["environment"]["DYNAMIC_CONFIG_FILE_PATH"]


def test_temporal_has_no_http_api() -> None:
    assert SERVICES["temporal"]["environment"]["FRONTEND_HTTP_PORT"] == "0"


def test_the_web_ui_is_reached_only_through_the_published_proxy() -> None:
    service = SERVICES["temporal-ui"]
    config = yaml.safe_load(COMPOSE["configs"]["temporal-ui"]["content"])
    given = service["environment"]
    assert config["host"] == "127.0.0.1"
    assert given["PROXY_UPSTREAM"] == f"{config['host']}:{config['port']}"
    assert given["PROXY_API"] == "api:8400"
    endpoint = config["codec"]["endpoint"]
    assert [filled(endpoint, {"CALLBOARD_ENCRYPT_PAYLOADS": value}) for value in ("", "true")] == ["", CODEC_PATH]
    assert service["ports"] == [f"127.0.0.1:{given['PROXY_PORT']}:{given['PROXY_PORT']}"]
    assert SERVICES["api"]["environment"]["CALLBOARD_TEMPORAL_UI_URL"] == f"http://127.0.0.1:{given['PROXY_PORT']}"
    assert (REPOSITORY / COMPOSE["configs"]["temporal-ui-proxy"]["file"]).samefile(CADDYFILE)


async def test_the_web_ui_answers_who_names_loopback_and_ends_with_its_proxy(tmp_path: Path) -> None:
    """What its container does; a program that answers everybody stands in for the UI, which only its image holds."""
    service = SERVICES["temporal-ui"]
    port, ui_port = ports.choose_ports({"proxy": 0, "ui": 0}).values()
    ui = tmp_path / "start-ui-server.sh"
    ui.write_text(f"#!/bin/sh\nexec '{sys.executable}' -m http.server --bind 127.0.0.1 {ui_port}\n")
    ui.chmod(0o755)
    (command,) = service["command"]
    environment: dict[str, str] = service["environment"] | {
        "PATH": f"{BESIDE}:{os.environ['PATH']}",
        "PROXY_BIND": "127.0.0.1",
        "PROXY_PORT": str(port),
        "PROXY_UPSTREAM": f"127.0.0.1:{ui_port}",
        "XDG_CONFIG_HOME": str(tmp_path),
        "XDG_DATA_HOME": str(tmp_path),
    }
    container = await asyncio.create_subprocess_exec(
        *service["entrypoint"],
        command.replace("/etc/caddy/Caddyfile", str(CADDYFILE)),
        cwd=tmp_path,
        env=environment,
        start_new_session=True,  # all of it can be killed, as all of a container is
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:

            async def answers() -> bool:
                try:
                    return (await http.get("/")).status_code == 200
                except httpx.TransportError:
                    return False

            await until(answers)
            assert "start-ui-server.sh" in (await http.get("/")).text
            for host in ("evil.example", f"evil.example:{port}", f"temporal-ui:{port}", f"172.18.0.9:{port}"):
                assert (await http.get("/", headers={"host": host})).status_code == 403
        (proxy,) = [child for child in psutil.Process(container.pid).children() if child.name() == "caddy"]
        proxy.kill()
        await asyncio.wait_for(container.wait(), 30)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(container.pid, signal.SIGKILL)
        await container.wait()


async def test_the_namespace_is_made_with_all_that_runs_need_also_twice() -> None:
    service = SERVICES["namespace"]
    command: list[str] = service["command"]
    starting = WorkflowEnvironment.start_local(dev_server_existing_path=str(BESIDE / "temporal"))
    async with await starting as server:
        address = server.client.service_client.config.target_host
        given = {name: filled(value, {}) for name, value in service["environment"].items()} | {
            "CALLBOARD_TEMPORAL_ADDRESS": address,
            "CALLBOARD_TEMPORAL_NAMESPACE": "made-by-compose",
        }
        for _ in range(2):
            done = await execute(BESIDE / "callboard", *command, env=given)
            assert done.code == 0, done
        client = await connect(Settings(temporal_address=address, temporal_namespace="made-by-compose"))
        found = await inspect_namespace(client)
    kept = Retention.from_settings(Settings())
    assert found == NamespaceState(kept.runs, sweep=SweepSchedule(kept.artifacts, paused=False))


async def test_the_store_is_one_that_callboard_can_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {name: f"a-secret-for-{name.lower()}" for name in SECRETS}
    port = ports.choose_ports({"": 0})[""]
    rclone = BESIDE / "rclone"
    environment = {"HOME": str(tmp_path), "RCLONE_CONFIG": os.devnull}
    (tmp_path / "data").mkdir()

    def command(service: str) -> list[str]:
        parts: list[str] = SERVICES[service]["command"]
        data = str(tmp_path / "data")
        return [part.replace("/data", data).replace(":8333", f"127.0.0.1:{port}") for part in parts]

    assert (await execute(rclone, *command("bucket"), env=environment)).code == 0
    server = SupervisedProcess(
        "rclone",
        [rclone, *command("artifacts")],
        log=tmp_path / "log",
        environment=environment
        | {name: filled(value, secrets) for name, value in SERVICES["artifacts"]["environment"].items()}
        | {"RCLONE_CACHE_DIR": str(tmp_path / "cache")},
        grace=timedelta(seconds=5),
        report=print,
    )
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    try:
        await server.start()
        async with asyncio.timeout(30):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except ConnectionError:
                    await asyncio.sleep(0.02)
                    continue
                writer.close()
                await writer.wait_closed()
                break
        accepted: set[str] = set()
        for service in ("api", "worker", "deploy"):
            given = {name: filled(value, secrets) for name, value in SERVICES[service]["environment"].items()}
            assert given["CALLBOARD_ARTIFACTS_ENDPOINT"] == "http://artifacts:8333"
            accepted.add(given["AWS_ACCESS_KEY_ID"] + given["AWS_SECRET_ACCESS_KEY"])
            for name in (name for name in given if name.startswith("AWS_")):
                monkeypatch.setenv(name, given[name])
            await open_store(given["CALLBOARD_ARTIFACTS"], endpoint=f"http://127.0.0.1:{port}").check()
        assert len(accepted) == 3, "each has a key of its own"
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-another-service")
        with pytest.raises(StoreError):
            await open_store(given["CALLBOARD_ARTIFACTS"], endpoint=f"http://127.0.0.1:{port}").check()
    finally:
        await server.stop()
