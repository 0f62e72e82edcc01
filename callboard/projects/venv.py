"""The environment in a project's own folder, `.venv`: for editors, tests and `callboard run`.

It has the packages that the project's Machines have, `callboard-runtime`, and what tests need. The one that is made
here has a mark, so that it is never taken for a declaration of packages, and is made anew when it is out of date. One
that somebody else has made is never changed.

Playwright, which is most of it, comes from the cache of the host's user: uv links to it, or clones from it, so all
projects share its files. Where a project has packages of its own, these are handled in a box that writes into `.venv`,
and so the files are copied there: code of packages must not reach the cache by a hard link.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from packaging.specifiers import SpecifierSet

from callboard.machines.runner.main import RUNTIME
from callboard.projects.declaration import VENV, VENV_MARK, pinned_playwright, read_declaration
from callboard.projects.environments import Environments
from callboard.projects.interpreters import choose_interpreter
from callboard.projects.lock_resolution import resolve_lock
from callboard.projects.settings_file import read_settings, resolve_project_name
from callboard.projects.uv import CONFIGURATION_END, UvError, run_uv
from callboard.schemas.errors import ProjectError

_TIMEOUT = timedelta(minutes=10)


async def ensure_venv(folder: Path, environments: Environments, say: Callable[[str], None]) -> Path:
    """Return the interpreter of the project's environment, which is made if there is none or it is out of date.

    Args:
        folder: The project folder.
        environments: How packages are installed on this host.
        say: Is given a line before something is made.

    Raises:
        ProjectError: It cannot be made, or somebody else has made one that lacks `callboard-runtime`.
        ConfigurationError: The settings want walls around uv that cannot stand here, or are wrong.
    """
    venv = folder / VENV
    python = venv / "bin" / "python"
    name = resolve_project_name(folder, read_settings(folder))
    declaration = read_declaration(folder)
    wanted = f"{declaration and declaration.digest}\n{pinned_playwright()}\n{RUNTIME}\n"
    why = "there is none yet"
    if (mark := venv / VENV_MARK).is_file():
        if mark.read_text() == wanted and python.exists():
            return python
        why = "it is out of date"
    elif venv.exists():
        if any(venv.glob("lib/python3.*/site-packages/callboard_runtime-*.dist-info")):
            return python
        raise ProjectError(
            f"{venv} was not made by Callboard, and lacks callboard-runtime. Remove it, and it is made anew; or "
            f"install into it: uv pip install --python {python} '{RUNTIME}[test]'"
        )
    say(
        f"Making {venv}, as {why}, for `callboard run`, tests and editors. It takes some seconds, and longer where "
        "packages have to be fetched first."
    )
    with tempfile.TemporaryDirectory(prefix="callboard-venv-") as scratch:
        outside = Path(scratch)
        interpreter = await choose_interpreter(SpecifierSet((declaration and declaration.requires_python) or ""))
        uv = await environments.uv(name)
        try:
            listed = declaration and await resolve_lock(declaration, folder, None, interpreter, outside, uv)
            # What runs outside of the box comes before the project's packages, and works in no folder of the project:
            # uv asks the interpreter of an environment, which executes what packages have put into `.pth` files.
            (outside / CONFIGURATION_END).touch()
            make = ("venv", "--quiet", "--clear", "--python", interpreter.executable, venv)
            await run_uv(*make, cwd=outside, timeout=_TIMEOUT)
            mark.touch()
            install = ("pip", "install", "--quiet", "--python", python)
            ours = (pinned_playwright(), "--editable", f"{RUNTIME}[test]", *(("--link-mode", "copy") if listed else ()))
            await run_uv(*install, *ours, cwd=outside, timeout=_TIMEOUT)
            if listed:
                (requirements := outside / "requirements.txt").write_text(listed)
                await uv.run(
                    *install, "-r", requirements, "--no-deps", *uv.build_options,
                    cwd=folder, timeout=_TIMEOUT, python=interpreter.executable, read=[outside], write=[venv],
                )  # fmt: skip
            # Code of packages may have put a link in the place of the mark, which is not followed.
            with tempfile.NamedTemporaryFile("w", dir=venv, delete=False) as file:
                file.write(wanted)
            await asyncio.to_thread(Path(file.name).replace, mark)
        except UvError as error:
            raise ProjectError(f"{venv} cannot be made: {error}.") from error
        finally:
            if mark.is_file() and not mark.read_text():
                await asyncio.to_thread(shutil.rmtree, venv, ignore_errors=True)
    return python
