"""What Attempts leave: automations that end in many ways, and a look at their traces."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from callboard.machines.attempt_spec import AttemptEvidence, AttemptReport, EvidenceSpec
from callboard.machines.machine_attempt import MachineAttempt
from callboard.machines.trace_redaction import parts_in
from callboard.schemas.workflow.run import TraceMode
from tests.support.machines import ENDLESS, ENDLESS_IN_TYPESCRIPT, Lab, attempt_of
from tests.support.present import present
from tests.support.typescript import handlers

TITLE = "data:text/html,<title>Chairs</title><h1>Chairs</h1>"
PROJECT = {
    **ENDLESS,
    "api/reads.py": f"""
        async def automation(page):
            await page.goto("{TITLE}")
            return await page.title()
    """,
    "shop/price.py": """
        async def price(page):
            await page.get_by_text("Price").click(timeout=50)
    """,
    "api/fails.py": f"""
        from shop.price import price

        async def automation(page):
            await page.goto("{TITLE}")
            await price(page)
    """,
    "api/waits.py": f"""
        async def automation(page):
            await page.goto("{TITLE}")
            await page.wait_for_event("close", timeout=0)
    """,
    "api/tells_and_waits.py": f"""
        from pathlib import Path

        async def automation(page, params):
            await page.goto("{TITLE}")
            Path(params["there"]).touch()
            await page.wait_for_event("close", timeout=0)
    """,
    "api/is_stopped.py": """
        import os, signal

        async def automation(page):
            await page.title()
            os.kill(os.getpid(), signal.SIGSTOP)
    """,
    **{
        f"api/{name}.py": f"""
            import os, signal

            async def automation(page):
                await page.goto("{TITLE}")
                {ends}
        """
        for name, ends in {
            "is_killed": "os.kill(os.getpid(), signal.SIGKILL)",
            "faults": "os.kill(os.getpid(), signal.SIGSEGV)",
            "exits": "os._exit(3)",
        }.items()
    },
    "api/hogs.py": f"""
        async def automation(page):
            await page.goto("{TITLE}")
            print("without an end", end="")
            hoard = []
            while True:
                hoard.append(bytearray(b"x" * 2**20))
    """,
    "api/hogs_in_a_child.py": f"""
        import asyncio, sys

        async def automation(page):
            await page.goto("{TITLE}")
            code = "hoard = []\\nwhile True: hoard.append(bytearray(b'x' * 2**20))"
            process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
            await process.wait()
    """,
    "api/hogs_in_the_page.py": f"""
        async def automation(page):
            await page.goto("{TITLE}")
            await page.evaluate("const hoard = []; while (true) hoard.push(new Uint8Array(2 ** 20).fill(1))")
    """,
    "api/opens_others.py": f"""
        import asyncio

        async def automation(page):
            browser = page.context.browser
            context = await browser.new_context()
            other = await context.new_page()
            await other.goto("{TITLE}")
            await context.close()
            await asyncio.gather(*(browser.new_context() for _ in range(2)))
            await (await browser.new_page()).goto("{TITLE}")
            raise ValueError("at last")
    """,
    "api/closes.py": f"""
        async def automation(page, params):
            await page.goto("{TITLE}")
            context = page.context
            await {{"page": page, "context": context, "browser": context.browser}}[params["what"]].close()
            if params["fails"]:
                raise ValueError("closed")
    """,
    "api/traces_itself.py": """
        async def automation(page):
            await page.context.tracing.stop()
    """,
    "api/busy_page.py": """
        import asyncio

        async def automation(page):
            asyncio.ensure_future(page.evaluate("while (true);"))
            await asyncio.sleep(0.2)
            raise ValueError("busy")
    """,
    "api/deferred.py": """
        from intuned_runtime import deferred_browser

        @deferred_browser
        async def automation(params, ensure_browser):
            raise ValueError("without a page")
    """,
    "auth-sessions/check.py": f"""
        async def check(page):
            await page.goto("{TITLE}")
            return False
    """,
}
TYPESCRIPT = {
    **ENDLESS_IN_TYPESCRIPT,
    **handlers(
        reads=f"""
            await page.goto("{TITLE}");
            return await page.title();
        """,
        fails=f"""
            async function price(page) {{ await page.getByText("Price").click({{ timeout: 50 }}); }}
            await page.goto("{TITLE}");
            await price(page);
        """,
        waits=f"""
            await page.goto("{TITLE}");
            await page.waitForEvent("close", {{ timeout: 0 }});
        """,
        clicks=f"""
            await page.goto("{TITLE}");
            await page.getByText("Price").click();
        """,
        tells_and_waits=f"""
            await page.goto("{TITLE}");
            require("fs").writeFileSync(params.there, "");
            await page.waitForEvent("close", {{ timeout: 0 }});
        """,
        exits=f"""
            await page.goto("{TITLE}");
            process.reallyExit(3);
        """,
        opens_others=f"""
            const browser = context.browser();
            const own = await browser.newContext();
            const other = await own.newPage();
            await other.goto("{TITLE}");
            await own.close();
            await Promise.all([browser.newContext(), browser.newContext()]);
            await (await browser.newPage()).goto("{TITLE}");
            throw new Error("at last");
        """,
        closes=f"""
            await page.goto("{TITLE}");
            await {{ page, context, browser: context.browser() }}[params.what].close();
            if (params.fails) throw new Error("closed");
        """,
        traces_itself="await context.tracing.stop()",
    ),
}


@dataclass
class Left:
    """What there is of an Attempt."""

    attempt: MachineAttempt
    report: AttemptReport | None

    @property
    def evidence(self) -> AttemptEvidence:
        """What the Machine has said of it."""
        return present(self.attempt.evidence)

    @property
    def folder(self) -> Path:
        return present(self.attempt.spec.evidence).folder

    @property
    def names(self) -> list[str]:
        # A Machine that is killed leaves its socket, too: nobody listens there, and the folder goes with the Attempt.
        return sorted(path.name for path in self.folder.iterdir() if not path.is_socket())

    def calls(self, part: int = 0) -> list[str]:
        """The methods that the trace has seen being called, in their order."""
        with zipfile.ZipFile(parts_in(self.folder)[part]) as trace:
            assert trace.testzip() is None
            events = [json.loads(line) for line in trace.read("trace.trace").splitlines()]
        return [event["method"] for event in events if event["type"] == "before"]

    def sources(self) -> list[str]:
        """The kinds of the files of the project that are in the trace."""
        with zipfile.ZipFile(parts_in(self.folder)[0]) as trace:
            return [Path(name).suffix for name in trace.namelist() if name.startswith("src/")]


class Leaving:
    """Attempts on one Machine at a time."""

    def __init__(self, lab: Lab, folder: Path, project: dict[str, str] = PROJECT) -> None:
        self._folder = folder
        self.lab = lab
        self.version = lab.version(project)
        self.pool = lab.pool()

    def attempt(
        self, api: str, parameters: Any = None, trace: TraceMode = TraceMode.ALWAYS, **fields: Any
    ) -> MachineAttempt:
        """An Attempt with a folder of its own."""
        folder = self._folder / str(len(list(self._folder.iterdir())))
        folder.mkdir()
        return attempt_of(api, parameters, evidence=EvidenceSpec(folder, trace), **fields)

    async def run(self, api: str, parameters: Any = None, trace: TraceMode = TraceMode.ALWAYS, **fields: Any) -> Left:
        attempt = self.attempt(api, parameters, trace, **fields)
        return Left(attempt, await self.pool.run_attempt(self.version, attempt))
