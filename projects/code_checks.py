"""Looking at the syntax tree of each API for what cannot work, without executing anything.

Whatever can be otherwise than it looks is left alone: a warning that is wrong is worse than none.
"""

from __future__ import annotations

import ast
import sys
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path

from projects.manifest import DeployWarning

_FUNCTIONS = ("automation", "create", "check")
"""Names of the function that is called, in the order in which they are looked up (docs/contract.md, section 3)."""
_RUNTIME = frozenset({"callboard_runtime", "intuned_runtime", "playwright"})
_STANDARD_LIBRARY = sys.stdlib_module_names | {"cgi", "cgitb", "crypt", "imghdr", "pipes", "sndhdr", "telnetlib", "uu"}
"""Modules of Python's own, with those that only an earlier Python has which a project may run on."""


_LARGEST_SOURCE = 1024 * 1024
"""Bytes of source that are parsed: while that takes, a second or so, nothing else of the process goes on."""


def check_code(folder: Path, apis: Collection[str], packages: Collection[str]) -> list[DeployWarning]:
    """Return one warning for each API that cannot work: its function is missing or not `async`, or an import fails.

    Args:
        folder: The files of the version.
        apis: The names of its APIs. One that does not parse is passed over.
        packages: The top-level modules of the packages that it runs with.
    """
    modules = modules_in(folder) | frozenset(packages)
    found: list[DeployWarning] = []
    for api in apis:
        file = f"api/{api}.py"
        tree = parse_file(folder / file)
        if tree is not None:
            found += _check_function(file, tree)
            found += _check_imports(file, tree, modules)
    return found


def parse_file(file: Path) -> ast.Module | None:
    """Return the syntax tree of a file; None if it does not parse, or is too large to be looked at."""
    try:
        if file.stat().st_size > _LARGEST_SOURCE:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def find_function(tree: ast.Module) -> ast.AST | None:
    """Return what binds the name of the function that is called, or may bind it; None if nothing does."""
    bound = dict(_names_bound(tree))
    return next((bound[name] for name in ("*", *_FUNCTIONS) if name in bound), None)


def _check_function(file: str, tree: ast.Module) -> Iterator[DeployWarning]:
    function = find_function(tree)
    if function is None:
        yield DeployWarning(
            file=file, message="there is no function automation; write `async def automation(page, params)`"
        )
    elif isinstance(function, ast.FunctionDef) and not function.decorator_list:
        message = f"{function.name} is not a coroutine function; write `async def {function.name}`"
        yield DeployWarning(file=file, line=function.lineno, message=message)


def _names_bound(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield each name that the code binds at the level of its module, with what binds it."""
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield child.name, child
            case ast.Import() | ast.ImportFrom():
                yield from ((alias.asname or alias.name, child) for alias in child.names)
            case ast.Name(ctx=ast.Store()):
                yield child.id, child
            case _:
                yield from _names_bound(child)


def _check_imports(file: str, tree: ast.Module, modules: Collection[str]) -> Iterator[DeployWarning]:
    for name, line in dict(_imports(tree)).items():
        if name not in modules and name not in _STANDARD_LIBRARY and name not in _RUNTIME:
            message = (
                f"the module {name} is neither in the project nor in a package that it declares "
                "(in pyproject.toml or requirements.txt)"
            )
            yield DeployWarning(file=file, line=line, message=message)


def _imports(node: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield the top-level modules that the code imports whatever happens, with their lines."""
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.Import():
                yield from ((alias.name.partition(".")[0], child.lineno) for alias in child.names)
            case ast.ImportFrom(level=0, module=str(module)):
                yield module.partition(".")[0], child.lineno
            case ast.Try() | ast.TryStar() | ast.If() | ast.With() | ast.AsyncWith():
                pass  # the import may be meant to fail, or not be made
            case _:
                yield from _imports(child)


def modules_in(folder: Path) -> frozenset[str]:
    """Return the names of the top-level modules and packages that can be imported from a folder of the import path."""
    lines = [line for file in folder.glob("*.pth") for line in file.read_text(errors="replace").splitlines()]
    # A line of such a file is a further folder, or code of a package that prepares something else.
    further = [folder / line for line in lines if line.strip() and not line.startswith(("#", "import "))]
    folders = [folder, *(each for each in further if each.is_dir())]
    return frozenset(entry.name.partition(".")[0] for each in folders for entry in each.iterdir())
