"""What a listed `intuned-runtime` requires is in the environment, beside Callboard's own `intuned_runtime`."""

from __future__ import annotations

from pathlib import Path

import pytest

from callboard.projects.lock_resolution import drop_runtime
from callboard.schemas.errors import ProjectError
from tests.support.project_host import Host, listing
from tests.support.wheels import make_wheel

LISTED = """\
beta==2.0 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
    # via
    #   intuned-runtime
    #   shop
intuned-runtime==1.3.41 \\
    --hash=sha256:cc
    # via -r requirements.txt
{numpy} \\
    --hash=sha256:dd
    # via{via}
other @ https://example.com/other.zip
    # via intuned-runtime
"""


@pytest.mark.parametrize(
    ("numpy", "via", "kept"),
    [
        ("numpy==1.26.4", " intuned-runtime", "numpy==1.26.4 ; python_full_version < '3.13'"),
        (
            "numpy==1.26.4 ; sys_platform == 'linux'",
            " intuned-runtime",
            "numpy==1.26.4 ; (sys_platform == \"linux\") and python_full_version < '3.13'",
        ),
        ("numpy==1.26.4", "\n    #   intuned-runtime\n    #   pandas", "numpy==1.26.4"),
        ("numpy==1.26.4", "\n    #   -r requirements.txt\n    #   intuned-runtime", "numpy==1.26.4"),
        ("numpy==2.4.0", " intuned-runtime", "numpy==2.4.0"),
    ],
)
def test_the_list_has_what_it_requires_and_not_itself(numpy: str, via: str, kept: str) -> None:
    assert drop_runtime(LISTED.format(numpy=numpy, via=via)) == (
        "beta==2.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"
        f"{kept} \\\n    --hash=sha256:dd\n"
        "other @ https://example.com/other.zip\n"
    )


def test_a_list_of_a_project_without_it_is_what_it_was() -> None:
    listed = "beta==2.0 \\\n    --hash=sha256:aa\n"
    assert drop_runtime(f"{listed}    # via shop\n") == listed


@pytest.fixture
def runtime(wheels: Path) -> Path:
    """An index that has a package `intuned-runtime` with requirements."""
    files = {"intuned_runtime/__init__.py": "raise ImportError('this is not ours')"}
    make_wheel(wheels, "intuned_runtime", "1.3.41", requires=("gamma<3",), files=files)
    for version in ("2.0", "3.0"):
        make_wheel(wheels, "gamma", version)
    return wheels


async def test_a_project_imports_what_the_runtime_requires_and_our_runtime(host: Host, runtime: Path):
    manifest = await host.deploy(listing("intuned-runtime==1.3.41"))
    listed = await host.listed(manifest)
    assert "gamma==2.0" in listed
    assert "intuned" not in listed
    found = (await host.here(manifest, "gamma", "intuned_runtime"))["found"]
    assert found["gamma"]
    assert found["intuned_runtime"].endswith("runtime/intuned_runtime/__init__.py")


async def test_what_contradicts_the_requirements_of_the_runtime_is_told(host: Host, runtime: Path):
    with pytest.raises(ProjectError, match=r"intuned-runtime depend on gamma<3 and .* cannot all be met"):
        await host.deploy(listing("intuned-runtime==1.3.41", "gamma==3.0"))
