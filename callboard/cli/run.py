"""`callboard run …`: one try of a project's own code in the foreground, with no server and no stack.

The code runs in the project's `.venv`, and in no box: it is its author's own, on a host of theirs.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from callboard.cli.environments import open_environments
from callboard.cli.exit_codes import ExitCode
from callboard.cli.json_argument import JSON_HELP, read_json, read_object
from callboard.cli.local_run import CallOptions, LocalLogin, LocalProject
from callboard.cli.local_variables import LocalVariables
from callboard.cli.options import ProjectDir, load_settings, parse_duration
from callboard.cli.output import open_output, print_json, print_message
from callboard.cli.with_api import Data, with_options
from callboard.machines.attempt_errors import with_place
from callboard.projects.apis import find_apis
from callboard.projects.files import list_project_files
from callboard.projects.languages import Language, find_language
from callboard.projects.node.modules_folder import ensure_modules
from callboard.projects.parameter_check import SchemaError, wrong_parameters
from callboard.projects.settings_file import read_settings
from callboard.projects.venv import ensure_venv
from callboard.schemas.errors import BadRequest, NotFound
from callboard.schemas.rest.field_errors import path_of

app = typer.Typer(
    help="Call one function of a project here and now, with no server.", no_args_is_help=True, add_completion=False
)
authsession = typer.Typer(help="Make and check logins of a project here.", no_args_is_help=True, add_completion=False)
app.add_typer(authsession, name="authsession")

_INSPECTOR = 9229
"""Port at which Node waits for a debugger, and debuggers look for it."""

_OPTIONS = {
    "project_dir": ProjectDir,
    "data": Data,
    "headful": Annotated[bool, typer.Option("--headful", help="Show the browser's window.")],
    "keep_open": Annotated[
        bool, typer.Option("--keep-open", help="Leave the window open at the end, until it is closed.")
    ],
    "slow_mo": Annotated[
        float | None, typer.Option(metavar="MS", min=0, help="Milliseconds that Playwright waits before each step.")
    ],
    "trace": Annotated[Path | None, typer.Option(metavar="PATH", help="Write a trace of Playwright to this file.")],
    "timeout": Annotated[
        str | None, typer.Option(metavar="DURATION", help="Time limit, such as 90s or 5m. Default: none.")
    ],
    "proxy": Annotated[
        str | None, typer.Option(metavar="URL", help="Proxy. Default: the one in the settings, if any.")
    ],
    "cdp_url": Annotated[
        str | None, typer.Option(metavar="URL", help="Use the running browser at this address of its debugging port.")
    ],
    "debugpy": Annotated[
        int | None, typer.Option(metavar="PORT", help="Wait for an editor's debugger at this port of 127.0.0.1.")
    ],
    "inspect": Annotated[
        int | None,
        typer.Option(
            metavar="[=PORT]", help=f"The same in TypeScript, where the port is {_INSPECTOR} if none is named."
        ),
    ],
    "output": Annotated[
        Path | None, typer.Option("--output-file", "-o", metavar="FILE", help="Write the result to this file.")
    ],
    "as_json": Annotated[
        bool, typer.Option("--json", help="Print one JSON object: status, result or error, attributes and payloads.")
    ],
}


class _Command(TyperCommand):
    """A command whose option `--inspect` may have no value, as that of Node."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line, with Node's own port where none is given."""
        return super().parse_args(ctx, [f"{each}={_INSPECTOR}" if each == "--inspect" else each for each in args])


@dataclass(frozen=True)
class _Given:
    """The options that all commands here have."""

    options: CallOptions
    project: LocalProject
    output: Path | None
    as_json: bool

    def report(self, outcome: dict[str, Any]) -> None:
        """Print or write the outcome of a call, and end with its exit code if it has failed."""
        error = outcome.get("error")
        result = None if error else json.loads(outcome["result"])
        if error:
            # Python's stacks end with the message, and those of JavaScript begin with it.
            if (
                frames := error["stack"]
                .strip("\n")
                .removesuffix(error["message"])
                .removeprefix(error["message"])
                .rstrip()
            ):
                print_message(f"\n{frames.strip('\n').rstrip()}", "dim")
            error["message"] = with_place(error["message"], error["stack"], self.project.folder)
        if self.as_json:
            payloads = outcome.get("extendedPayloads")
            shown = {
                "status": "failed" if error else "completed",
                **({"error": error} if error else {"result": result}),
                "attributes": outcome.get("attributes", {}),
                "extendedPayloads": payloads and json.loads(payloads),
            }
            self._deliver(shown)
        elif error:
            print_message(error["message"], "red")
        else:
            self._deliver(result)
        if error:
            raise typer.Exit(ExitCode.FAILED)

    def _deliver(self, value: Any) -> None:
        """Print a value as JSON, or write it to the file that is named."""
        if self.output is None:
            print_json(value)
        else:
            with open_output(self.output) as file:
                file.write(f"{json.dumps(value, indent=2)}\n".encode())


def _in_project(command: Callable[..., None]) -> Callable[..., None]:
    """Make a command from a function whose first argument is what the common options say, and add these options."""

    def run(**given: Any) -> None:
        common = {name: given.pop(name) for name in _OPTIONS}
        folder = (common.pop("project_dir") or Path()).resolve()
        settings = read_settings(folder)
        installed = load_settings(data_dir=common.pop("data"))
        language = find_language(file.path for file in list_project_files(folder))
        other = "inspect" if language is Language.PYTHON else "debugpy"
        if common[other] is not None:
            raise BadRequest(f"--{other}: this project is not in the language that this is for.")
        python = None
        if language is Language.PYTHON:
            python = asyncio.run(ensure_venv(folder, open_environments(installed), print_message))
        else:
            asyncio.run(ensure_modules(folder, print_message))
        project = LocalProject(folder, settings, python, LocalVariables.read(folder, settings, installed))
        output, as_json, timeout = common.pop("output"), common.pop("as_json"), common.pop("timeout")
        common |= {"slow_mo": common["slow_mo"] or 0, "timeout": timeout and parse_duration(timeout)}
        options = CallOptions(**common)
        try:
            command(_Given(options, project, output, as_json), **given)
        except KeyboardInterrupt:
            raise typer.Exit(ExitCode.INTERRUPTED) from None

    return with_options(command, run, _OPTIONS)


@app.command(cls=_Command)
@_in_project
def api(
    given: _Given,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the API: its path below api/, without suffix.")],
    parameters: Annotated[
        str | None, typer.Argument(metavar="[PARAMETERS]", help=f"Its parameters: {JSON_HELP}. Default: none.")
    ] = None,
    auth_session: Annotated[
        str | None, typer.Option(metavar="ID", help="Begin with this login, after its check.")
    ] = None,
) -> None:
    """Call an API once, print its log on standard error as it comes, and its result on standard output.

    breakpoint() stops in the terminal. With --headful, page.pause() opens Playwright's inspector. Ctrl-C closes all.
    """
    project = given.project
    if name not in (known := find_apis(project.folder, list_project_files(project.folder))):
        raise NotFound(f"There is no API {name} in {project.folder}. Its APIs: {', '.join(known)}.")
    if auth_session is None and project.settings.auth_sessions.enabled:
        # The words up to the colon are those of the contract, as over REST.
        raise BadRequest(
            f"Auth session is required for auth session validation runs: project {project.variables.project} logs in, "
            "so the call needs --auth-session ID. `callboard run authsession create ID` makes a login here."
        )
    login = None if auth_session is None else project.login(auth_session)
    arguments = None if parameters is None else read_json(parameters, "PARAMETERS")
    if arguments is not None:
        _check_parameters(project, name, arguments)
    with project.called("api", f"api/{name}", arguments, given.options, login, check=True) as outcome:
        if login is not None and outcome.get("state") and project.settings.auth_sessions.save_back:
            project.keep_login(LocalLogin(login.id, login.parameters, outcome["state"]))
        given.report(outcome)


def _check_parameters(project: LocalProject, api: str, parameters: Any) -> None:
    """Check parameters by the annotation of the API. Raises BadRequest."""
    schema = project.input_schema(api)
    if isinstance(schema, SchemaError):
        print_message(f"The parameters are not checked: {schema}.", "dim")
    elif schema is not None and (wrong := wrong_parameters(schema, parameters)):
        lines = [f"{path_of(each.path) or 'The whole'}: expected {each.expected}." for each in wrong]
        raise BadRequest("\n  ".join([f"PARAMETERS are not what {project.file_of(api)} says.", *lines]))


@authsession.command(cls=_Command)
@_in_project
def create(
    given: _Given,
    session_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the login.")],
    parameters: Annotated[
        str | None, typer.Option("--input", help=f"What auth-sessions/create is given: {JSON_HELP}.")
    ] = None,
) -> None:
    """Make a login with auth-sessions/create, and keep it in auth-sessions-instances/ID, for its owner alone.

    Without --input, an existing login is made anew from what it was made from before.
    """
    project = given.project
    made_from = read_object(parameters, "--input") if parameters is not None else project.login(session_id).parameters
    login = LocalLogin(session_id, made_from, None)
    with project.called("create", "auth-sessions/create", made_from, given.options, login) as outcome:
        if "error" not in outcome:
            folder = project.keep_login(LocalLogin(session_id, made_from, outcome["state"]))
            print_message(f"The login {session_id} is in {folder}.")
        else:
            given.report(outcome)


@authsession.command(cls=_Command)
@_in_project
def check(given: _Given, session_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the login.")]) -> None:
    """Check a login with auth-sessions/check. The exit code is 1 if it is not good."""
    login = given.project.login(session_id)
    with given.project.called("check", "auth-sessions/check", None, given.options, login) as outcome:
        given.report(outcome)
        if outcome["result"] != "true":
            print_message(f"The login {session_id} is not good. `callboard run authsession create` makes it anew.")
            raise typer.Exit(ExitCode.FAILED)
