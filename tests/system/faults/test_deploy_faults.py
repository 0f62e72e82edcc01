"""A deploy over REST by processes of their own: it is done once, whatever is killed in the middle of it."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path

from tests.support.files import write_files
from tests.support.installation import KEY, Installation, Part
from tests.support.polling import until
from tests.support.processes import Done
from tests.support.rest import Rest

HELLO = "async def automation(page, params=None, **_kwargs):\n    return 'hello'\n"
JOB = {"payload": [{"apiName": "hello", "parameters": {}}], "configuration": {}}
SLOW_JOB = {**JOB, "payload": [{"apiName": "hello", "parameters": {"numbers": list(range(20_000))}}]}
JOB_FILE = "intuned-resources/jobs/nightly.job.json"


def works_on_an_upload(worker: Part) -> bool:
    return any(worker.data.glob("deploys/.partial-*/scratch/upload/*"))


async def deploy(installation: Installation, rest: Rest, folder: Path, *options: str) -> Done:
    """Deploy by the command, with nothing but the address of the api and a key."""
    known = {"CALLBOARD_URL": str(rest.http.base_url), "CALLBOARD_API_KEY": KEY, "CALLBOARD_ARTIFACTS": "/nowhere"}
    return await installation.command("deploy", str(folder), *options, **known)


async def test_a_deploy_survives_the_death_of_a_worker_and_waits_for_one(
    installation: Installation, tmp_path: Path
) -> None:
    files = {"Intuned.json": "{}", "api/hello.py": HELLO, JOB_FILE: json.dumps(JOB)}
    folder = write_files(tmp_path / "sent", files)
    async with AsyncExitStack() as resources:
        rest = await resources.enter_async_context(installation.api())
        control = await installation.worker(resources, "control", "--role=control")
        async with AsyncExitStack() as passing:
            await installation.worker(passing, "browser", "--role=browser")
            done = await deploy(installation, rest, folder, "--message", "The first one")
            assert done.code == 0, done.err
            first, *more = done.out.splitlines()
            assert first.startswith("Deployed sent, version ")
            assert more == ["APIs: hello", "Jobs created: nightly"]
            ended = await rest.result(await rest.start("hello", {}, project="sent"), project="sent")
            assert ended["result"] == "hello"

        # JSON with comments takes seconds to be read.
        write_files(folder, {"api/other.py": HELLO, JOB_FILE: f"// slow\n{json.dumps(SLOW_JOB)}"})
        sending = asyncio.create_task(deploy(installation, rest, folder))
        await until(lambda: works_on_an_upload(control))
        control.process.kill()
        await control.process.wait()
        pending = await rest.get("deploy/result", project="sent")
        assert (pending["status"], pending["message"]) == ("pending", "The upload is being checked.")
        assert (await rest.request("POST", "deploy", project="sent")).status_code == 409

        await installation.worker(resources, "control-2", "--role=control")
        await rest.until("deploy/result", lambda now: "are being resolved" in now["message"], project="sent")
        assert not sending.done()
        await installation.worker(resources, "browser-2", "--role=browser")
        done = await sending
        assert done.code == 0, done.err
        second = done.out.splitlines()[0]
        assert second.startswith("Deployed sent, version ")
        assert second != first

        other = await resources.enter_async_context(installation.api("api-2"))
        result = await other.get("deploy/result", project="sent")
        assert (result["status"], result["apis"], result["version"]) == (
            "completed",
            ["hello", "other"],
            second.split()[3].rstrip(","),
        )
        (project,) = [each for each in await versions(other) if each["current"]]
        assert project["version"] == result["version"]
        assert len(await versions(other)) == 2

        write_files(folder, {"api/other.py": HELLO, "requirements.txt": "six @ file:///etc/passwd\n"})
        done = await deploy(installation, rest, folder)
        assert done.code == 1
        assert "requirements.txt" in done.err
        assert [each["version"] for each in await versions(other) if each["current"]] == [result["version"]]
    left = [path for path in tmp_path.glob("artifacts/uploads/**/*") if path.is_file()]
    assert {path.name for path in left} == {"bundle.tar.gz"}, "only the one whose deploy has failed"


async def versions(rest: Rest) -> list[dict[str, object]]:
    return (await rest.get("versions", project="sent"))["versions"]
