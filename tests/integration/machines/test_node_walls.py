"""User code in TypeScript stands within the same walls: what it attacks by Node.js, and by programs that it starts.

The programs are the attacks of `tests/system/attacks`, which Python tries there in whole installations.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from callboard.machines import keeper
from callboard.machines.machine import Machine
from callboard.machines.network import Network, network_refusal
from callboard.machines.reach import Reach
from callboard.machines.runner import process_tree
from tests.support.automations import automations
from tests.support.machines import USER, Lab, attempt_of, failure, find_process, open_lab, value
from tests.support.recording_site import cookie, state
from tests.support.repository import REPOSITORY
from tests.support.typescript import handlers

ATTACKS = REPOSITORY / "tests" / "system" / "attacks" / "projects" / "attacker"
MARKED = "a-variable-of-the-worker"
PROJECT = {
    **handlers(
        attacks="""
            const { execFileSync } = require("child_process");
            const code = `import asyncio, json, runpy, sys
            automation = runpy.run_path(sys.argv[1])["automation"]
            print(json.dumps(asyncio.run(automation(None, json.loads(sys.argv[2])))))`.replace(/^ +/gm, "");
            const given = ["-c", code, `api/${params.attack}.py`, JSON.stringify(params.given)];
            const env = { ...process.env, PYTHONPATH: "." };
            return JSON.parse(execFileSync(params.python, given, { env, maxBuffer: 2 ** 24 }));
        """,
        reaches="""
            const fs = require("fs");
            const through = {};
            const attempt = (what, way) => { try { through[what] = way() ?? true; } catch {} };
            for (const pid of params.pids) {
                attempt(`${pid} signal`, () => process.kill(pid, "SIGCONT"));
                attempt(`${pid} environment`, () => fs.readFileSync(`/proc/${pid}/environ`).length || null);
                attempt(`${pid} memory`, () => fs.openSync(`/proc/${pid}/mem`, "r+"));
            }
            for (const path of params.read) attempt(`read ${path}`, () => fs.readdirSync(path).length);
            for (const path of params.write) attempt(`write ${path}`, () => fs.appendFileSync(path, "x"));
            return through;
        """,
        finds="""
            const fs = require("fs");
            const found = Object.values(process.env).includes(params.value) ? ["process.env"] : [];
            for (const pid of fs.readdirSync("/proc").filter(Number)) {
                try { if (fs.readFileSync(`/proc/${pid}/environ`).includes(params.value)) found.push(pid); } catch {}
            }
            return found;
        """,
        keeps="""
            const fs = require("fs");
            const places = ["/tmp", "/var/tmp", "/dev/shm", process.env.HOME, "."].map((folder) => `${folder}/kept`);
            const texts = await Array.fromAsync(require("v8").getHeapSnapshot(), String);
            texts.push(JSON.stringify(process.env), ...places.map((place) => {
                try { return fs.readFileSync(place, "utf8"); } catch { return ""; }
            }));
            for (const each of context.browser().contexts()) texts.push(JSON.stringify(await each.storageState()));
            const found = texts.join("").matchAll(/secret-of-(anna|bob)/g);
            const [{ value }] = await context.cookies();
            globalThis.kept = process.env.KEPT = value;
            for (const place of places) try { fs.writeFileSync(place, value); } catch {}
            return [...new Set(Array.from(found, ([, name]) => name))];
        """,
        spins="""
            function spin() {
                while (true) {}
            }
            spin();
        """,
        asks_for_a_debugger="""
            process.kill(process.pid, "SIGUSR1");
            await new Promise((resolve) => setTimeout(resolve, 200));
            return require("inspector").url() ?? null;
        """,
        connects="""
            const net = require("net");
            const connected = ([host, port]) => new Promise((done) => {
                const socket = net.connect({ host, port, timeout: 2000 });
                for (const end of ["connect", "timeout"]) socket.on(end, () => done(end));
                socket.on("error", (error) => done(error.code));
            });
            const told = [];
            for (const address of params.to) {
                told.push(await connected(address));
                const url = `http://${address[0]}:${address[1]}/`;
                const ways = [fetch(url, { signal: AbortSignal.timeout(2000) }), page.goto(url)];
                for (const way of ways) told.push(await way.then(() => "connect", () => "refused"));
            }
            return told;
        """,
    ),
    **{path: (ATTACKS / path).read_text() for path in ("ways.py", "api/processes.py", "api/files.py")},
}
VICTIM = {**automations(fine="return 'fine'"), "secret.txt": "the victim's"}


@pytest.fixture(scope="module")
async def walled(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    """A lab whose Machines share no folder."""
    async with open_lab(tmp_path_factory.mktemp("walled"), shared=()) as lab:
        yield lab


@pytest.fixture(scope="module")
async def machines(walled: Lab) -> tuple[Machine, Machine]:
    """That of the attacker and that of its victim."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MARKED", MARKED)  # in the environment of the worker
        attacker = await walled.machine(walled.version(PROJECT, project="attacker"), "attacker-1")
        victim = await walled.machine(walled.version(VICTIM, project="victim"), "victim-1")
    return attacker, victim


async def run(machine: Machine, api: str, parameters: Any) -> Any:
    await machine.wait_clean()
    return value(await machine.run_attempt(attempt_of(api, parameters)))


def others(*machines: Machine) -> dict[int, str]:
    """All processes of these Machines, and ours, with their command lines."""
    pids = [os.getpid()]
    for machine in machines:
        pids += [machine.keeper_pid, *keeper.descendants(machine.keeper_pid)]
    return {pid: process_tree.read(f"/proc/{pid}/cmdline").decode(errors="replace") for pid in pids}


async def test_no_process_but_its_own_is_reached(machines: tuple[Machine, Machine]) -> None:
    attacker, victim = machines
    await attacker.wait_clean()
    its_own = find_process(attacker.keeper_pid, USER)
    there = others(attacker, victim)
    assert "user_process.js" in there.pop(its_own)
    given = {"attack": "processes", "python": sys.executable, "given": {"pids": list(there)}}
    told = await run(attacker, "attacks", given)
    assert {what: got for what, got in told["through"].items() if int(what.partition(":")[0]) in there} == {}
    assert [line for line in told["seen"] if "supervisor" in line or "keeper.py" in line] == []
    assert told["privileges"]["NoNewPrivs"] == "1"
    assert int(told["privileges"]["CapEff"], 16) == 0
    assert await run(attacker, "reaches", {"pids": list(others(victim)), "read": [], "write": []}) == {}
    assert await run(victim, "fine", None) == "fine"


async def test_no_file_of_others_is_read_and_none_of_its_own_code_written(
    machines: tuple[Machine, Machine], walled: Lab
) -> None:
    attacker, victim = machines
    client = walled.launch.client
    read = [victim.version.folder, victim.version.folder / "secret.txt", walled.scratch / victim.name]
    ours = [REPOSITORY / "runtime" / "node" / "user_process.js", client / "lib" / "client.js"]
    write = [*read, attacker.version.folder, *ours, *(client / "cache").iterdir()]
    given = {"read": [str(path) for path in read], "write": [str(path) for path in write]}
    told = await run(attacker, "attacks", {"attack": "files", "python": sys.executable, "given": given})
    assert {what: got for what, got in told.items() if str(walled.scratch / attacker.name) not in what} == {}
    assert (
        await run(attacker, "reaches", {"pids": [], "read": given["read"], "write": [str(path) for path in ours]}) == {}
    )


async def test_nothing_of_the_workers_environment_is_there(machines: tuple[Machine, Machine]) -> None:
    attacker, _ = machines
    assert await run(attacker, "finds", {"value": MARKED}) == []
    assert {*await run(attacker, "finds", {"value": os.environ["PATH"]})} >= {"process.env"}, (
        "else it finds nothing at all"
    )


async def test_no_login_of_an_earlier_attempt_is_there(machines: tuple[Machine, Machine]) -> None:
    """Neither in memory of its process, which is started before its login is known, nor in files or the browser."""
    attacker, _ = machines
    for user in ("anna", "bob", "anna"):
        login = state(cookie("login", f"secret-of-{user}"))
        await attacker.wait_clean()
        attempt = attempt_of("keeps", storage_state=json.dumps(login))
        assert value(await attacker.run_attempt(attempt)) == [user]


@asynccontextmanager
async def networked(folder: Path) -> AsyncGenerator[Machine]:
    """A Machine of the attacker with a network of its own, in which loopback is closed."""
    async with open_lab(folder, shared=()) as lab:
        network = Network.of(Reach.of(allow=[]), folder).watching()
        lab.launch = replace(lab.launch, network=network)
        try:
            yield await lab.machine(lab.version(PROJECT))
        finally:
            await lab.close()
            await network.close()


@pytest.mark.skipif(network_refusal() is not None, reason=f"Networks: {network_refusal()}")
async def test_a_closed_address_is_closed_by_every_way(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        async with networked(tmp_path) as machine:
            told = await run(machine, "connects", {"to": [server.getsockname(), ("169.254.77.77", 80)]})
    assert "connect" not in told
    assert told[0] == "ECONNREFUSED"


@pytest.mark.skipif(network_refusal() is not None, reason=f"Networks: {network_refusal()}")
async def test_one_that_spins_says_where_if_nobody_else_reaches_its_debugger(tmp_path: Path) -> None:
    async with networked(tmp_path) as machine:
        failed = failure(await machine.run_attempt(attempt_of("spins", timeout=1)))
        assert failed.message == "The Attempt did not end within 1 seconds; it stood at api/spins.ts:3."
        assert re.fullmatch(r"    at spin \(api/spins.ts:3:1\)\n    at .*\(api/spins.ts:5:1\)\n", failed.stack)
        assert await run(machine, "connects", {"to": []}) == []


async def test_no_debugger_is_opened_where_others_would_reach_it(machines: tuple[Machine, Machine]) -> None:
    attacker, _ = machines
    assert await run(attacker, "asks_for_a_debugger", None) is None
