"""Looking at the syntax tree of each API for what cannot work, without executing anything.

Where the code may do something else than it seems to, nothing is said: a wrong warning is worse than none.
"""

from __future__ import annotations

import ast
import sys
import warnings
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from pydantic import Field

from callboard.projects.apis import LOGIN
from callboard.projects.manifest import DeployWarning, Stored

_FUNCTIONS = ("automation", "create", "check")
"""Names of the function that is called, in the order in which they are looked up (docs/contract.md, section 3)."""
_RUNTIME = frozenset({"callboard_runtime", "intuned_runtime", "playwright"})
_STANDARD_LIBRARY = sys.stdlib_module_names | {"cgi", "cgitb", "crypt", "imghdr", "pipes", "sndhdr", "telnetlib", "uu"}
"""Modules of Python's own, with those that only an earlier Python has which a project may run on."""


_LARGEST_SOURCE = 1024 * 1024
"""Most bytes of source that are looked at. No API is that long, and a syntax tree takes much more memory than code."""
_LONGEST_DOCSTRING = 4_000


class ApiCode(Stored):
    """What the text of an API's file says."""

    docstring: str | None = None
    """That of its function, else that of its file."""
    annotated: bool = False
    """Whether an annotation of its parameters may be worth reading."""
    returns: bool = False
    """Whether one of its result may be."""
    warning: DeployWarning | None = None
    """Why it cannot work: its function is missing or not `async`."""
    imports: dict[str, int] = Field(default_factory=dict[str, int])
    """The top-level modules of packages that it imports whatever happens, with their lines."""


def look_at_code(files: Path, apis: Collection[str]) -> dict[str, ApiCode]:
    """Return what the text of each API says; of one that does not parse, or is too large to be looked at, nothing.

    Args:
        files: The files of the version.
        apis: The names of its APIs, and `LOGIN` if it logs in.
    """
    known = modules_in(files) | _STANDARD_LIBRARY | _RUNTIME
    return {api: _look_at(files, source_of(api), known) for api in apis}


def source_of(api: str) -> str:
    """Return the path of an API's file, or that of the function that logs in."""
    return f"{api}.py" if api == LOGIN else f"api/{api}.py"


def check_imports(code: Mapping[str, ApiCode], packages: Collection[str]) -> list[DeployWarning]:
    """Return the warnings of `look_at_code`, and one for each import of a module that is not among `packages`."""
    found: list[DeployWarning] = []
    for api, said in code.items():
        found += [said.warning] if said.warning is not None else []
        for name, line in said.imports.items():
            if name not in packages:
                message = (
                    f"the module {name} is neither in the project nor in a package that it declares "
                    "(in pyproject.toml or requirements.txt)"
                )
                found.append(DeployWarning(file=source_of(api), line=line, message=message))
    return found


def _look_at(files: Path, file: str, known: Collection[str]) -> ApiCode:
    tree = _parse(files / file)
    if tree is None:
        return ApiCode()
    imports = {name: line for name, line in _imports(tree) if name not in known}
    function = _find_function(tree)
    if function is None:
        name = "create" if file == source_of(LOGIN) else "automation"
        message = f"there is no function {name}; write `async def {name}(page, params)`"
        return ApiCode(imports=imports, warning=DeployWarning(file=file, message=message))
    warning = None
    if isinstance(function, ast.FunctionDef) and not function.decorator_list:
        message = f"{function.name} is not a coroutine function; write `async def {function.name}`"
        warning = DeployWarning(file=file, line=function.lineno, message=message)
    is_here = isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
    text = (is_here and ast.get_docstring(function)) or ast.get_docstring(tree) or None
    return ApiCode(
        docstring=text and text[:_LONGEST_DOCSTRING].encode(errors="replace").decode(),
        annotated=_may_be_annotated(function),
        returns=is_here and function.returns is not None,
        warning=warning,
        imports=imports,
    )


def _parse(file: Path) -> ast.Module | None:
    try:
        if file.stat().st_size > _LARGEST_SOURCE:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _find_function(tree: ast.Module) -> ast.AST | None:
    """Return what binds the name of the function that is called, or may bind it; None if nothing does."""
    bound = dict(_names_bound(tree))
    return next((bound[name] for name in ("*", *_FUNCTIONS) if name in bound), None)


def _may_be_annotated(function: ast.AST) -> bool:
    """Tell whether the parameters of what binds the function's name may be annotated."""
    if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
        return True  # it comes from elsewhere
    # A decorated function may be one that is given no page first.
    positional = [*function.args.posonlyargs, *function.args.args]
    first = 0 if function.decorator_list else 1
    return any(argument.annotation is not None for argument in positional[first:2])


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


def _imports(node: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield the top-level modules that the code imports unconditionally, with their lines."""
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
