"""Running uv, which resolves and installs dependencies of projects, and explaining its errors in a sentence or two."""

from __future__ import annotations

import logging
import os
import re
from datetime import timedelta
from pathlib import Path

from uv import find_uv_bin

from projects.processes import run_process

_log = logging.getLogger(__name__)

_MAX_REASON_LENGTH = 600
"""Most characters of a reason. The whole error output of uv may have hundreds of lines."""

_SECRET_PREFIXES = ("CALLBOARD_", "AWS_", "TEMPORAL_", "OTEL_")
"""Prefixes of variables that are hidden from builds, because building a package may run the code of strangers."""

_REMOVED_VARIABLES = frozenset(
    {
        "CONDA_PREFIX", "PYTHONHOME", "PYTHONPATH", "UV_PROJECT", "UV_PYTHON", "UV_SYSTEM_PYTHON",
        "UV_WORKING_DIRECTORY", "VIRTUAL_ENV",
    }
)  # fmt: skip
"""Variables that refer to another environment than the one that uv is to work on."""


class UvError(Exception):
    """A failure of uv. The message is the end of a sentence that says why, with no password and no dot at its end."""


async def run_uv(*arguments: str | Path, cwd: Path, timeout: timedelta) -> str:
    """Run uv and return what it prints.

    It follows the operator's own configuration (`UV_*`, `uv.toml`), and the project's if `cwd` is its folder.

    Raises:
        UvError: It failed, or did not end in time.
    """
    try:
        command = [find_uv_bin(), *arguments]
        ended = await run_process(command, cwd=cwd, environment=uv_environment(), timeout=timeout)
    except TimeoutError:
        raise UvError(f"it took longer than {timeout.total_seconds() / 60:g} minutes") from None
    except OSError as error:  # This includes the FileNotFoundError of find_uv_bin.
        raise UvError(f"uv cannot be started ({error})") from error
    if ended.code:
        stderr = mask_url_credentials(ended.stderr)
        _log.info("uv %s: %s", " ".join(map(str, arguments[:2])), stderr)
        raise UvError(explain_error(stderr))
    return ended.stdout


def uv_environment() -> dict[str, str]:
    """Return the environment variables of uv, and of the programs that it runs to build packages."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in _REMOVED_VARIABLES and not name.startswith(_SECRET_PREFIXES)
    }
    # Files are copied (without taking space, where the file system can) and not linked: what one project's code does to
    # an installed file must reach neither another environment nor uv's cache.
    return {"UV_LINK_MODE": "copy"} | kept | {"NO_COLOR": "1", "UV_NO_PROGRESS": "1"}


def mask_url_credentials(text: str) -> str:
    """Return `text` with the credentials in all addresses replaced by `***`."""
    return re.sub(r"(://)[^/@\s'\"`]+@", r"\1***@", text)


def explain_error(stderr: str) -> str:
    """Return the reason in uv's error output: the part that a person can act on."""
    headline, causes = _split_error(stderr)
    whole = " ".join([headline, *causes])
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
        return _clip(f"{what} cannot be fetched ({causes[-1] if causes else headline})")
    return _clip(re.sub(r"\s*\^+$", "", ": ".join([headline, *causes[:2]])) or "it does not say")


def _split_error(told: str) -> tuple[str, list[str]]:
    """Return the headline and the causes of uv's error output, each on one line."""
    headline, causes = "", list[str]()
    for paragraph in re.split(r"^(?=error: |warning: |hint: |  cause: )", told, flags=re.MULTILINE):
        text = " ".join(paragraph.split())
        if text.startswith("error: "):
            headline = text.removeprefix("error: ")
            causes.clear()
        elif text.startswith("cause: ") and headline:
            causes.append(text.removeprefix("cause: "))
    return headline or " ".join(told.split()), causes


def _last_line(told: str) -> str:
    """Return the last line that the build of a package printed: with Python, that is the exception."""
    output = re.split(r"\[stderr\]|--- stderr|\[stdout\]", told)
    if len(output) == 1:
        return ""
    lines = [line.strip() for line in re.split(r"^hint: ", output[-1], flags=re.MULTILINE)[0].splitlines()]
    return next((line for line in reversed(lines) if line), "")


def _clip(text: str) -> str:
    if len(text) <= _MAX_REASON_LENGTH:
        return text
    half = _MAX_REASON_LENGTH // 2
    return f"{text[:half].rsplit(' ', 1)[0]} … {text[-half:].split(' ', 1)[-1]}"
