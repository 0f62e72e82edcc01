"""Running uv, which resolves and installs dependencies of projects, and explaining its errors in a sentence or two."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from uv import find_uv_bin

from callboard.machines.package_box import PackageBox, kept
from callboard.machines.program_keeper import ENDED
from callboard.machines.proxied import TOLD
from callboard.projects.operator_index import URL_CREDENTIALS, OperatorIndex, read_operator_index
from callboard.projects.processes import run_in_thread, run_process
from callboard.schemas.machine_sizes import MEMORY_OF_SIZE

_log = logging.getLogger(__name__)

CONFIGURATION_END = "uv.toml"
"""Name of an empty file beside a project folder: uv looks for settings in the folders above, and this ends that search,
as the next file may be anybody's."""

_MAX_REASON_LENGTH = 600
"""Most characters of a reason. The whole error output of uv may have hundreds of lines."""

_MEMORY = MEMORY_OF_SIZE["large"]
"""Most bytes of memory that uv, and the builds that it starts, may use together."""
INDEX_PROXY = Path(__file__).with_name("index_proxy.py")

_SECRET_PREFIXES = ("CALLBOARD_", "AWS_", "TEMPORAL_", "OTEL_")
"""Prefixes of variables that programs of this host do not need, and that hold secrets."""

_REMOVED_VARIABLES = frozenset(
    {
        "CONDA_PREFIX", "PYTHONHOME", "PYTHONPATH", "UV_PROJECT", "UV_PYTHON", "UV_SYSTEM_PYTHON",
        "UV_WORKING_DIRECTORY", "VIRTUAL_ENV",
    }
)  # fmt: skip
"""Variables that refer to another environment than the one that uv is to work on."""

_BUILDS = "builds-v0"
"""Name of the folder in uv's cache in which each build has to make a folder."""
_UNBUILT = re.compile(
    r"Wheels are required for `([^`]+)` because building from source is disabled"
    r"|Building source distributions(?: for `([^`]+)`)? is disabled(?:, but attempted to build `([^`]+)`)?"
    rf"|Failed to (?:download and )?build `([^` =]+)[^`]*`\n(?:.*\n)*?.*/{_BUILDS}`"
)


class UvError(Exception):
    """A failure of uv. The message is the end of a sentence that says why, with no password and no dot at its end."""


@dataclass(frozen=True)
class ProjectUv:
    """uv as it works for one project of this host: in a box, and with a cache that is this project's alone."""

    box: PackageBox
    folder: Path
    """Where the cache is, and what each run needs for itself. It is created when it is needed."""
    build_packages: bool
    """Whether packages may be built from their sources, which executes code of theirs."""

    async def run(
        self,
        *arguments: str | Path,
        cwd: Path,
        timeout: timedelta,
        python: Path,
        read: Sequence[Path] = (),
        write: Sequence[Path] = (),
    ) -> str:
        """Run uv and return what it prints. Nothing that it has started is left when this returns.

        It follows the operator's configuration (`UV_*`, `uv.toml`, netrc), and the project's in `cwd`. It sees no
        credentials of the operator: where there are any, `callboard.projects.index_proxy` signs in for it.

        Args:
            arguments: What uv is to do.
            cwd: The project folder.
            timeout: How long it may take.
            python: The interpreter that it works with.
            read: Further folders and files that it reads.
            write: Folders that it writes, besides its cache.

        Raises:
            UvError: It failed, or did not end in time.
            ConfigurationError: The settings want walls that cannot stand here, or are wrong.
        """
        scratch = self.folder / f"run-{uuid.uuid4().hex}"
        try:
            index = await run_in_thread(read_operator_index)
            instead = await run_in_thread(self._prepare, scratch, index)
            uv, variables = find_uv_bin(), self._environment(index.variables, scratch)
            if index.sign_in is not None:
                variables[TOLD] = json.dumps({**index.sign_in, "folder": str(scratch)})
            command = await self.box.command(
                [uv, *map(str, arguments)],
                read=(Path(uv), cwd, cwd.parent / CONFIGURATION_END, *index.files, *index.certificates, *read),
                write=(self.cache, scratch, *write),
                interpreters=(python,),
                scratch=scratch,
                memory_limit=_MEMORY,
                instead=instead,
                index=index.places,
                proxy=None if index.sign_in is None else INDEX_PROXY,
                proxy_reads=(*index.certificates, *index.client_certificate),
            )
            return await _run(command, arguments, cwd, variables, timeout)
        except (OSError, ValueError) as error:  # OSError includes the FileNotFoundError of find_uv_bin.
            raise UvError(f"uv cannot be started ({error})") from error
        finally:
            await run_in_thread(shutil.rmtree, scratch, ignore_errors=True)

    @property
    def cache(self) -> Path:
        """The folder of the cache. What was built is in another one than what is used where nothing may be built."""
        return self.folder / ("cache-with-builds" if self.build_packages else "cache")

    @property
    def build_options(self) -> tuple[str, ...]:
        """Options for the commands of uv that may build packages."""
        return () if self.build_packages else ("--no-build",)

    def _prepare(self, scratch: Path, index: OperatorIndex) -> dict[Path, Path]:
        """Make the folders, and write the files that are to stand in place of others of this host."""
        self.cache.mkdir(parents=True, exist_ok=True)
        os.utime(self.folder)  # so that it is not removed as unused
        if not self.build_packages:
            # A project can take a package out of `--no-build`: by `no-binary` in its settings or requirements. This is
            # a file where each build has to make a folder, so that all of them fail before they execute anything.
            (self.cache / _BUILDS).touch()
        for name in ("home", "tmp"):
            (scratch / name).mkdir(parents=True)
        instead: dict[Path, Path] = {}
        for number, (file, text) in enumerate(index.cleaned.items()):
            instead[file] = scratch / f"configuration-{number}.toml"
            instead[file].write_text(text)
        return instead

    def _environment(self, variables: Mapping[str, str], scratch: Path) -> dict[str, str]:
        return {
            "LANG": "C.UTF-8",
            # Files are copied (without taking space, where the file system can) and not linked: the cache may change.
            "UV_LINK_MODE": "copy",
            **variables,
            "UV_CACHE_DIR": str(self.cache),
            "UV_NO_CACHE": "false",  # whatever the project's settings say: see `_prepare`
            "HOME": str(scratch / "home"),
            "TMPDIR": str(scratch / "tmp"),
            "NO_COLOR": "1",
            "UV_NO_PROGRESS": "1",
        }


async def run_uv(*arguments: str | Path, cwd: Path, timeout: timedelta) -> str:
    """Run uv on this host, with what its user has, and return what it prints. No project may have a say in it.

    Raises:
        UvError: It failed, or did not end in time.
    """
    try:
        return await _run(kept([find_uv_bin(), *map(str, arguments)]), arguments, cwd, host_environment(), timeout)
    except OSError as error:  # This includes the FileNotFoundError of find_uv_bin.
        raise UvError(f"uv cannot be started ({error})") from error


async def _run(
    command: Sequence[str],
    arguments: Sequence[str | Path],
    cwd: Path,
    environment: Mapping[str, str],
    timeout: timedelta,
) -> str:
    try:
        ended = await run_process(command, cwd=cwd, environment=environment, timeout=timeout)
    except TimeoutError:
        raise UvError(f"it took longer than {timeout.total_seconds() / 60:g} minutes") from None
    if ended.code:
        stderr = mask_url_credentials(ended.stderr or ended.stdout)
        _log.info("uv %s: %s", " ".join(map(str, arguments[:2])), stderr)
        raise UvError(explain_error(stderr))
    return ended.stdout


def host_environment() -> dict[str, str]:
    """Return the environment of programs that run on this host itself: ours, without Callboard's secrets."""
    kept_variables = {
        name: value
        for name, value in os.environ.items()
        if name not in _REMOVED_VARIABLES and not name.startswith(_SECRET_PREFIXES)
    }
    return kept_variables | {"NO_COLOR": "1", "UV_NO_PROGRESS": "1"}


def mask_url_credentials(text: str) -> str:
    """Return `text` with the credentials in all addresses replaced by `***`."""
    return URL_CREDENTIALS.sub("***@", text)


def explain_error(stderr: str) -> str:
    """Return the reason in uv's error output: the part that a person can act on."""
    if (limit := re.search(rf"^{ENDED}(.*)$", stderr, re.MULTILINE)) is not None:
        return limit[1]
    headline, causes = _split_error(stderr)
    whole = " ".join([headline, *causes])
    if unbuilt := _UNBUILT.search(stderr):
        name = next(filter(None, unbuilt.groups()), None) or "the project itself, or a package without a name,"
        return (
            f"{name} has no wheel for this host here, and packages are not built from their sources, as "
            "CALLBOARD_BUILD_PACKAGES is false, or CALLBOARD_ISOLATION is none. Require a version that has wheels, or "
            "provide a wheel in your own index; or let the operator allow builds, which execute the package's code, by "
            "CALLBOARD_BUILD_PACKAGES=true at deploys and workers"
        )
    if (refused := re.search(r"An index URL \((\S+)\) could not be queried.*\((\d+ .*)\)", stderr)) is not None:
        return f"the package index {refused[1]} wants other credentials than it is given ({refused[2]})"
    if missing := re.search(r"Because (\S+) was not found in the package registry", whole):
        return f"there is no package {missing[1]} in the package index"
    if (none := re.search(r"Because there is no version of (\S+)", whole)) and whole.count("ecause ") == 1:
        return f"there is no version of {none[1]} in the package index"
    if headline.startswith("No solution found") and causes:
        stderr = re.sub(r"[Bb]ecause (.+?), we can conclude that ", r"\1, so ", causes[0].replace("`", ""))
        return _clip(stderr.removesuffix(".").replace("your requirements are unsatisfiable", "they cannot all be met"))
    if build := re.match(r"Failed to (?:download and )?build `([^`]+)`", headline):
        package = build[1].partition(" @ ")[0]
        return _clip(f"{package} cannot be built here: {_last_line(stderr) or '; '.join(causes) or headline}")
    if re.match(r"Request failed|Failed to fetch", headline):
        fetched = re.search(r"https?://[^\s`)]+", whole)
        what = fetched[0] if fetched else "the package index"
        unreached = re.findall(r"^not reached: (.*)$", stderr, re.MULTILINE)  # as the proxy says it
        return _clip(f"{what} cannot be fetched ({([*causes, *unreached] or [headline])[-1]})")
    return _clip(re.sub(r"\s*\^+$", "", ": ".join([headline, *causes[:2]])) or "it does not say")


def _split_error(output: str) -> tuple[str, list[str]]:
    """Return the headline and the causes of uv's error output, each on one line."""
    headline, causes = "", list[str]()
    for paragraph in re.split(r"^(?=error: |warning: |hint: |  cause: )", output, flags=re.MULTILINE):
        text = " ".join(paragraph.split())
        if text.startswith("error: "):
            headline = text.removeprefix("error: ")
            causes.clear()
        elif text.startswith("cause: ") and headline:
            causes.append(text.removeprefix("cause: "))
    return headline or " ".join(output.split()), causes


def _last_line(output: str) -> str:
    """Return the last line that the build of a package printed: with Python, that is the exception."""
    parts = re.split(r"\[stderr\]|--- stderr|\[stdout\]", output)
    if len(parts) == 1:
        return ""
    lines = [line.strip() for line in re.split(r"^hint: ", parts[-1], flags=re.MULTILINE)[0].splitlines()]
    return next((line for line in reversed(lines) if line), "")


def _clip(text: str) -> str:
    if len(text) <= _MAX_REASON_LENGTH:
        return text
    half = _MAX_REASON_LENGTH // 2
    return f"{text[:half].rsplit(' ', 1)[0]} … {text[-half:].split(' ', 1)[-1]}"
