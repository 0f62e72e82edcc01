import pytest

from callboard.projects.declaration import (
    check_declaration,
    list_requirement_files,
    read_declaration,
    read_index_options,
)
from callboard.schemas.errors import ProjectError
from callboard.schemas.workflow.deploy import FrozenVenv
from tests.support.present import present
from tests.support.project_folders import Make

PYPROJECT = '[project]\nname = "shop"\nversion = "1"\ndependencies = ["humanize"]\n'
EMPTY = '[project]\nname = "shop"\nversion = "1"\ndependencies = []\n'
FROZEN = FrozenVenv(python="3.12", requirements="humanize==4.9.0\n")


def test_a_project_that_says_nothing_declares_nothing(make_project: Make):
    assert read_declaration(make_project()) is None
    empty = {"pyproject.toml": EMPTY, "requirements.txt": "# nothing yet\n\n--extra-index-url http://127.0.0.1:9\n"}
    assert read_declaration(make_project(empty)) is None


@pytest.mark.parametrize(
    ("files", "source"),
    [
        ({"pyproject.toml": PYPROJECT}, "pyproject.toml"),
        ({"pyproject.toml": '[project]\nname = "x"\ndynamic = ["version", "dependencies"]\n'}, "pyproject.toml"),
        ({"pyproject.toml": PYPROJECT, "requirements.txt": "six"}, "pyproject.toml"),
        ({"pyproject.toml": EMPTY, "requirements.txt": "six"}, "requirements.txt"),
        ({"requirements.txt": "-r more.txt", "more.txt": "six"}, "requirements.txt"),
        ({}, ".venv"),
    ],
)
def test_the_first_that_says_anything_is_the_declaration(make_project: Make, files: dict[str, str], source: str):
    declaration = read_declaration(make_project(files), FROZEN)
    assert present(declaration).source == source


def test_the_python_of_a_venv_is_wanted_unless_the_project_says_which(make_project: Make):
    declaration = read_declaration(make_project(), FROZEN)
    assert present(declaration).requires_python == "==3.12.*"
    folder = make_project({"pyproject.toml": f'{EMPTY}requires-python = ">=3.12"\n'})
    declaration = read_declaration(folder, FROZEN)
    assert present(declaration).requires_python == ">=3.12"


def test_a_python_that_is_not_ours_is_a_declaration_by_itself(make_project: Make):
    declaration = read_declaration(make_project({"pyproject.toml": f'{EMPTY}requires-python = ">=3.99"\n'}))
    assert present(declaration).requires_python == ">=3.99"
    assert read_declaration(make_project({"pyproject.toml": f'{EMPTY}requires-python = ">=3.12"\n'})) is None


@pytest.mark.parametrize(
    ("path", "text", "same"),
    [
        ("requirements.txt", "six\n-r more/base.txt\n\n", False),
        ("more/base.txt", "humanize>4\n", False),
        ("more/deep.txt", "idna>3\n", False),
        ("pyproject.toml", EMPTY + 'requires-python = ">=3.12"\n', False),
        ("api/list.py", "async def automation(page):\n    return 2\n", True),
        ("more/other.txt", "anything", True),
    ],
)
def test_the_digest_changes_with_whatever_belongs_to_the_declaration(
    make_project: Make, path: str, text: str, same: bool
):
    files = {
        "requirements.txt": "six\n-r more/base.txt\n",
        "more/base.txt": "humanize\n--requirement=deep.txt\n",
        "more/deep.txt": "idna\n-r base.txt",
        "more/other.txt": "not included",
    }
    before, after = (read_declaration(make_project(files)), read_declaration(make_project({**files, path: text})))
    assert before is not None
    assert after is not None
    assert (before.digest == after.digest) is same


def test_a_file_may_say_where_packages_come_from(make_project: Make):
    folder = make_project(
        {
            "requirements.txt": "--extra-index-url https://example.org/simple  # ours\nsix\n-r more/base.txt\n",
            "more/base.txt": "--find-links=wheels\n-f https://example.org/x\n--no-index\n-i http://example.org/y\n",
        }
    )
    assert list_requirement_files(folder) == ["requirements.txt", "more/base.txt"]
    assert read_index_options(folder) == [
        "--extra-index-url https://example.org/simple",
        f"--find-links {folder}/more/wheels",
        "-f https://example.org/x",
        "--no-index",
        "-i http://example.org/y",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[project\n", "pyproject.toml: this is not TOML: "),
        (EMPTY + 'requires-python = "^3.12"\n', "requires-python: expected versions such as"),
        (EMPTY + "requires-python = 3.12\n", "requires-python: expected versions such as"),
    ],
)
def test_a_pyproject_that_is_none_is_told(make_project: Make, text: str, expected: str):
    with pytest.raises(ProjectError, match=expected.replace("[", r"\[")):
        read_declaration(make_project({"pyproject.toml": text}))


def test_dependencies_for_poetry_are_warned_of(make_project: Make):
    poetry = '[tool.poetry.dependencies]\npython = "^3.12"\n'
    assert check_declaration(make_project({"pyproject.toml": poetry})) == []
    assert check_declaration(make_project({"pyproject.toml": poetry + 'six = "*"\n' + PYPROJECT})) == []
    (warning,) = check_declaration(make_project({"pyproject.toml": poetry + 'six = "*"\n'}))
    assert "list them as dependencies of [project]" in str(warning)
