"""A lab for JobRuns of a project that is each test's alone."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from temporalio.client import Client

from tests.support.control_worker import JobLab, open_job_lab


@pytest.fixture
async def idle_job_lab(client: Client, name: str, tmp_path: Path) -> AsyncGenerator[JobLab]:
    """Nobody serves JobRuns and Runs, yet."""
    async with open_job_lab(client, name, tmp_path) as lab:
        yield lab


@pytest.fixture
async def job_lab(idle_job_lab: JobLab) -> AsyncGenerator[JobLab]:
    async with idle_job_lab.serving():
        yield idle_job_lab
