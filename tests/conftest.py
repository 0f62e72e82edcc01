"""What holds for all tests, and the fixtures that tests of several rooms share."""

from __future__ import annotations

import signal

import hypothesis
import pytest

pytest.register_assert_rewrite("tests.support")

pytest_plugins = [
    "tests.support.dev_terminal",
    "tests.support.example_site",
    "tests.support.package_index",
    "tests.support.project_venv",
    "tests.support.scheduling",
    "tests.support.stack",
]

# How quick an example is, and how quickly one is made, is the machine's business: it may be busy.
hypothesis.settings.register_profile(
    "callboard", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("callboard")


# Who starts the tests in the background of a script has SIGINT ignored, and processes inherit that: no command that is
# started here would hear Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
