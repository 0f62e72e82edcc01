"""Every citation of the pages for maintainers leads to a heading that exists, and has the one form.

Python files, configuration and docs cite `docs/contract.md, section 10.1`, where a rule may follow (`, rule 3` or
`, rules 2 to 4`), `docs/architecture.md, "Promises"`, or `CONTRIBUTING.md, "Change a workflow"`. Markdown pages link to
headings besides.
"""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.repository import REPOSITORY

THIS_FILE = Path(__file__).relative_to(REPOSITORY).as_posix()

SECTION = re.compile(r"docs/contract\.md,\s+section\s+(\d+(?:\.\d+)?)(?:,\s+rules?\s+(\d+)(?:\s+to\s+(\d+))?)?")
TITLE = re.compile(r'(docs/architecture\.md|CONTRIBUTING\.md),\s+"([^"]+)"')
SECTION_IN_CONTRACT = re.compile(r"(?<!\[)\bsection\s+(\d+(?:\.\d+)?)(?:,\s+rules?\s+(\d+)(?:\s+to\s+(\d+))?)?")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
# A string that begins with a page is code that opens it.
MENTION = re.compile(r'(?<!")(?:docs/(?:contract|architecture)|CONTRIBUTING)\.md')
OTHER_FORMS = re.compile(
    r"\bDESIGN\b|\bcontract,?\s+(?:sections?\s+)?\d|\bcontract\s+section|intuned-contract|runs-page|§"
)

HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def text_files() -> dict[str, str]:
    """All tracked files that are text, by path; this file holds the patterns themselves."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, check=True, capture_output=True, text=True)
    files: dict[str, str] = {}
    for path in listed.stdout.split("\0"):
        if path and path != THIS_FILE and (REPOSITORY / path).is_file():
            try:
                files[path] = (REPOSITORY / path).read_text("utf-8")
            except UnicodeDecodeError:
                continue  # a picture
    return files


def headings(page: str) -> list[str]:
    return HEADING.findall(FENCED.sub("", page))


def anchor(heading: str) -> str:
    """The anchor that a forge gives to a heading."""
    return re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-"))


def sections(contract: str) -> dict[str, str]:
    """The text of each numbered section of the contract, without its subsections, by number."""
    parts = re.split(r"^#{2,3} (\d+(?:\.\d+)?) .*$", contract, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def problems(path: str, text: str, pages: Mapping[str, str]) -> list[str]:
    """What is wrong with the citations in the text of one file; empty if they all lead somewhere.

    Args:
        path: The file.
        text: What is in it.
        pages: The texts of the cited pages, by path.
    """
    known = sections(pages["docs/contract.md"])
    found: list[str] = []

    def check(section: str, *rules: str) -> None:
        if section not in known:
            found.append(f"{path}: the contract has no section {section}")
            return
        for rule in filter(None, rules):
            if not re.search(rf"^{rule}\. ", known[section], flags=re.MULTILINE):
                found.append(f"{path}: section {section} of the contract has no rule {rule}")

    for citation in SECTION.findall(text):
        check(*citation)
    if path == "docs/contract.md":
        for citation in SECTION_IN_CONTRACT.findall(text):
            check(*citation)
    found += [
        f"{path}: {page} has no heading {title!r}"
        for page, title in TITLE.findall(text)
        if " ".join(title.split()) not in headings(pages.get(page, ""))
    ]
    found += [f"{path}: {other!r} is no citation that can be followed" for other in OTHER_FORMS.findall(text)]
    if not path.endswith(".md"):
        cited = {match.start() for pattern in (SECTION, TITLE) for match in pattern.finditer(text)}
        found += [
            f"{path}: {mention.group()} is cited without a section"
            for mention in MENTION.finditer(text)
            if mention.start() not in cited
        ]
    return found


def dead_links(path: str, text: str) -> list[str]:
    """Links of a Markdown page to files and headings that do not exist."""
    found: list[str] = []
    for target, fragment in LINK.findall(FENCED.sub("", text)):
        file = (REPOSITORY / path).parent / target if target else REPOSITORY / path
        if not file.exists():
            found.append(f"{path}: there is no {target}")
        elif fragment and fragment not in map(anchor, headings(file.read_text())):
            found.append(f"{path}: {target or path} has no heading #{fragment}")
    return found


def test_every_citation_leads_to_a_heading():
    files = text_files()
    assert sum(bool(SECTION.search(text)) for text in files.values()) > 40  # else it proves nothing
    assert [line for path, text in files.items() for line in problems(path, text, files)] == []


def test_every_link_of_a_page_leads_to_a_heading():
    pages = {path: text for path, text in text_files().items() if path.endswith(".md")}
    assert {"README.md", "CONTRIBUTING.md", "docs/contract.md", "docs/architecture.md"} <= pages.keys()
    assert [line for path, text in pages.items() for line in dead_links(path, text)] == []


CONTRACT = """
# The contract
## 3 How user code is called
1. First.
2. Second.
### 3.1 The hook
1. Only.
"""
PAGES = {
    "docs/contract.md": CONTRACT,
    "docs/architecture.md": "# Architecture\n## Promises\n",
    "CONTRIBUTING.md": "# Work on it\n## Change a workflow\n",
}


@pytest.mark.parametrize(
    "text",
    [
        "(docs/contract.md, section 4)",
        "(docs/contract.md, section 3.2)",
        "(docs/contract.md, section 3, rule 3)",
        "(docs/contract.md, section 3.1, rules 1 to 2)",
        'docs/architecture.md, "Rooms"',
        'CONTRIBUTING.md, "Promises"',
        "see docs/contract.md",
        "see docs/architecture.md",
        "see CONTRIBUTING.md",
        "(contract section 3)",
        "(contract 3.1)",
        "the closed sets of the contract, sections 3 and 3.1",
        "(DESIGN section 3)",
    ],
)
def test_a_citation_that_leads_nowhere_is_found(text: str):
    assert len(problems("some.py", text, PAGES)) == 1


def test_a_link_that_leads_nowhere_is_found():
    dead = "[a](no-such-page.md) [b](contract.md#no-such-heading) [c](#no-such-heading)"
    assert len(dead_links("docs/contract.md", dead)) == 3
    assert dead_links("docs/contract.md", "[a](contract.md#1-vocabulary) [b](https://example.com/#x)") == []
