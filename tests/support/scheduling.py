"""What pytest keeps together, and what it begins with.

Each of its workers takes one unit after another. What takes long comes first, so that short ones fill the end, when no
worker should have to wait for another. A unit is a file; or tests that share something for the whole session (a stack,
Temporal, a cache of packages, an installation that is attacked), so that not every worker makes one. What they share
goes when the unit ends: an idle stack takes a fortieth of a processor, and the memory of its browsers.
"""

from __future__ import annotations

import re

import pytest
from _pytest.runner import runtestprotocol
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

LONG_ONES = (
    # The stack of tests/support/stack.py, twice: one half of what uses it would be the longest of all.
    (
        "tests/system/test_pages",
        "tests/system/test_redeploy.py",
        "tests/system/test_sinks.py",
        "tests/system/test_cli_",
    ),
    ("tests/system/",),
    ("tests/system/attacks/",),
    # What installs packages: uv's cache is filled once.
    (
        *("tests/integration/projects/test_runtime_dependencies.py", "tests/integration/projects/test_environments.py"),
        *("tests/integration/projects/test_installed.py", "tests/integration/projects/test_lock_resolution.py"),
        "tests/integration/projects/test_vendor_packages.py",
    ),
    # What is done to the stack of tests/system/faults/conftest.py.
    (
        *("tests/system/faults/test_auth_session_faults.py", "tests/system/faults/test_faults.py"),
        "tests/system/faults/test_job_faults.py",
    ),
    ("tests/system/faults/test_store_faults.py",),
    ("tests/system/faults/test_leaks.py",),
    ("tests/system/faults/test_kills.py",),
    # What has installations of its own would only keep the units at the beginning busy for longer.
    ("tests/system/faults/test_chaos.py",),
    ("tests/system/test_fleet.py",),
    ("tests/system/test_any_temporal.py",),
    ("tests/system/test_metrics.py",),
    ("tests/system/test_backup.py",),
    ("tests/system/test_compose_stack.py",),
    ("tests/system/test_builds.py",),
    ("tests/system/test_refused_by_temporal.py",),
    ("tests/system/test_demo.py",),
    ("tests/system/dev/test_inspection.py",),
    ("tests/integration/activities/",),
    ("tests/unit/workflows/",),
    ("tests/system/test_separate_processes.py",),
    ("tests/integration/machines/test_cancel.py",),
    ("tests/unit/api/",),
    ("tests/integration/machines/test_endings.py",),
    ("tests/system/test_roles.py",),
    ("tests/integration/machines/test_pool.py",),
    ("tests/integration/machines/test_capturing.py",),
    ("tests/integration/storage/",),
    ("tests/system/dev/test_dev.py",),
    ("tests/system/cli/test_dev.py", "tests/system/docs/test_readme.py"),  # one `callboard dev`
    ("tests/integration/temporal/",),
    # The fixture `configured` of tests/support/stack.py.
    (
        *("tests/system/test_encrypted_payloads.py", "tests/system/test_https_proxy.py"),
        *("tests/system/test_opentelemetry.py", "tests/system/test_tls_proxy.py"),
    ),
)
"""Units that are to begin first, in this order, each by how the paths of its files begin; the longest match counts."""
KIND = re.compile(r"\[((?:plain|root)-[a-z]+)")
"""Where the id of a test says in which kind of installation an attack is tried. Each kind is a unit of its own."""


def unit(nodeid: str) -> tuple[int, str]:
    """Where in the order the unit of a test is, and its name."""
    path = nodeid.partition("::")[0]
    matches = [
        (len(beginning), rank)
        for rank, beginnings in enumerate(LONG_ONES)
        for beginning in beginnings
        if path.startswith(beginning)
    ]
    if not matches:
        return len(LONG_ONES), path
    _, rank = max(matches)
    kind = KIND.search(nodeid) if path.startswith("tests/system/attacks/") else None
    return rank, LONG_ONES[rank][0] + (kind[1] if kind else "")


class Units(LoadFileScheduling):
    """`--dist loadfile`, by units."""

    def _split_scope(self, nodeid: str) -> str:
        return unit(nodeid)[1]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Units | None:
    """Of xdist: what hands out the tests."""
    if config.getoption("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False  # it would begin with the units that have the most tests
    return Units(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long units first; within a unit nothing changes."""
    items.sort(key=lambda item: unit(item.nodeid)[0])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Close what is for the whole session with the last test of a unit of several files."""
    rank, name = unit(item.nodeid)
    if nextitem is None or rank == len(LONG_ONES) or unit(nextitem.nodeid)[1] == name:
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    runtestprotocol(item, nextitem=None)  # as if it were the last test of all
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True
