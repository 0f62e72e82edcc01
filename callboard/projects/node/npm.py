"""Running npm, which resolves and installs the packages of projects in TypeScript, and explaining its errors.

It runs in a box, behind the operator's registry, and executes no script of any package.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from callboard.machines.box import node_files, node_program
from callboard.machines.package_box import PackageBox
from callboard.machines.program_keeper import ENDED
from callboard.machines.proxied import TOLD
from callboard.projects.index_proxy import CERTIFICATES
from callboard.projects.node.tools import require_tools
from callboard.projects.operator_index import NpmRegistry, read_npm_registry
from callboard.projects.processes import run_in_thread, run_process
from callboard.projects.uv import INDEX_PROXY, mask_url_credentials
from callboard.schemas.machine_sizes import MEMORY_OF_SIZE
from callboard.schemas.workflow.base import clip

_log = logging.getLogger(__name__)

_MEMORY = MEMORY_OF_SIZE["large"]
_WITHIN = timedelta(minutes=10)
_LONGEST = 600
_OPTIONS = {
    "audit": "false",
    "color": "false",
    "fetch-retry-maxtimeout": "5000",
    "fetch-retry-mintimeout": "1000",
    "fund": "false",
    "git": "/bin/false",  # nothing is fetched by git
    "ignore-scripts": "true",
    "install-links": "true",  # folders of the project are copied
    "logs-max": "0",
    "loglevel": "error",
    "omit": "dev",
    "omit-lockfile-registry-resolved": "true",  # locks have no address
    "progress": "false",
    "update-notifier": "false",
}


class NpmError(Exception):
    """A failure of npm. The message is the end of a sentence that says why, with no password and no dot at its end."""


@dataclass(frozen=True)
class ProjectNpm:
    """npm as it works for one project of this host: in a box, and with a cache that is this project's alone."""

    box: PackageBox
    folder: Path
    """Where the cache is, and what each run needs for itself. It is created when it is needed."""

    async def lock(self, work: Path) -> None:
        """Write the lock for the package.json in the folder `work`. A lock that is there stands as far as it fits.

        Raises:
            NpmError: It failed, or did not end in time.
            ProjectError: npm is not installed on this host.
            ConfigurationError: The settings want walls that cannot stand here.
        """
        await self._run("install", "--package-lock-only", work=work)

    async def install(self, work: Path) -> None:
        """Install what the lock in the folder `work` says into its `node_modules`. Raises the same errors."""
        await self._run("ci", work=work)

    async def _run(self, *arguments: str, work: Path) -> None:
        scratch = self.folder / f"run-{uuid.uuid4().hex}"
        tools, node = require_tools(), node_program()
        try:
            registry = await run_in_thread(read_npm_registry)
            await run_in_thread(self._prepare, scratch)
            variables = self._environment(registry, scratch)
            command = await self.box.command(
                [str(node), str(tools / "node_modules" / "npm" / "bin" / "npm-cli.js"), *arguments],
                read=(tools, *node_files(node), *registry.certificates),
                write=(self._cache, scratch, work),
                interpreters=(),
                scratch=scratch,
                memory_limit=_MEMORY,
                index=registry.places,
                proxy=None if registry.sign_in is None else INDEX_PROXY,
                proxy_reads=(*registry.certificates, *registry.client_certificate),
            )
            ended = await run_process(command, cwd=work, environment=variables, timeout=_WITHIN)
        except TimeoutError:
            raise NpmError(f"it took longer than {_WITHIN.total_seconds() / 60:g} minutes") from None
        except (OSError, ValueError) as error:
            raise NpmError(f"npm cannot be started ({error})") from error
        finally:
            await run_in_thread(shutil.rmtree, scratch, ignore_errors=True)
        if ended.code:
            said = mask_url_credentials(ended.stderr or ended.stdout)
            _log.info("npm %s: %s", arguments[0], said)
            raise NpmError(explain_error(said))

    @property
    def _cache(self) -> Path:
        return self.folder / "cache"

    def _prepare(self, scratch: Path) -> None:
        self._cache.mkdir(parents=True, exist_ok=True)
        os.utime(self.folder)  # so that it is not removed as unused
        for name in ("home", "tmp"):
            (scratch / name).mkdir(parents=True)
        for name in ("userconfig", "globalconfig"):
            (scratch / name).touch()  # instead of any that are in the box

    def _environment(self, registry: NpmRegistry, scratch: Path) -> Mapping[str, str]:
        options = {
            **_OPTIONS,
            "cache": str(self._cache),
            **({} if registry.address is None else {"registry": registry.address}),
            "userconfig": str(scratch / "userconfig"),
            "globalconfig": str(scratch / "globalconfig"),
        }
        variables = {
            **registry.variables,
            **{f"npm_config_{name.replace('-', '_')}": value for name, value in options.items()},
            "LANG": "C.UTF-8",
            "HOME": str(scratch / "home"),
            "TMPDIR": str(scratch / "tmp"),
            "NODE_USE_SYSTEM_CA": "1",
        }
        if registry.sign_in is not None:
            variables[TOLD] = json.dumps({**registry.sign_in, "folder": str(scratch)})
            variables["NODE_EXTRA_CA_CERTS"] = str(scratch / CERTIFICATES)
        return variables


def explain_error(stderr: str) -> str:
    """Return the reason in npm's error output: the part that a person can act on."""
    if (limit := re.search(rf"^{ENDED}(.*)$", stderr, re.MULTILINE)) is not None:
        return limit[1]
    lines = [line.strip() for line in re.findall(r"^npm (?:error|ERR!) ?(.*)$", stderr, re.MULTILINE)]
    code = next((line.removeprefix("code ") for line in lines if line.startswith("code ")), "")
    prefix = re.compile(rf"^(?:{re.escape(code)} |\d{{3}} )")
    rest = [prefix.sub("", line) for line in lines if not line.startswith(("code ", "Log files were not written"))]
    whole = " ".join(line for line in rest if line)
    if code == "E404" and (missing := re.search(r"'(@?[^'@]+)@[^']*' could not be found", whole)) is not None:
        return f"there is no package {missing[1]} in the package registry"
    if code in {"E401", "E403", "ENEEDAUTH"}:
        return f"the package registry wants other credentials than it is given ({clip(whole, _LONGEST)})"
    if code == "ETARGET" and (none := re.search(r"No matching version found for (\S+?)\.?\s", f"{whole} ")):
        return f"there is no version {none[1]} in the package registry"
    if code == "EINTEGRITY":
        return f"a package is not what its hash in the lock says: {clip(whole, _LONGEST)}"
    return clip(whole or stderr.strip() or "it does not say", _LONGEST).removesuffix(".")
