"""A long page begins with the list of its sections, so that a reader finds one without reading all."""

import re

import pytest

from tests.support.repository import REPOSITORY
from tests.unit.docs.test_citations import FENCED, anchor

WORDS = 2000
"""A page with more of them is long."""
PAGES = {
    path.relative_to(REPOSITORY).as_posix(): path.read_text("utf-8")
    for path in [REPOSITORY / "CONTRIBUTING.md", *(REPOSITORY / "docs").rglob("*.md")]
}
LONG = [name for name, text in PAGES.items() if len(text.split()) > WORDS]


@pytest.mark.parametrize("name", LONG)
def test_a_long_page_begins_with_its_contents(name: str):
    sections = re.findall(r"^## +(.+?) *$", FENCED.sub("", PAGES[name]), flags=re.MULTILINE)
    expected = "".join(f"- [{section.replace('`', '')}](#{anchor(section)})\n" for section in sections)
    before = PAGES[name].partition("\n## ")[0]
    assert expected in before, f"{name} needs this list before its first section:\n\n{expected}"


def test_long_pages_are_found():
    assert {"docs/contract.md", "docs/projects.md", "docs/architecture.md"} <= {*LONG}
