"""What the doctor says of how Temporal is connected to."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.service import TLSConfig

from cli.doctor.findings import Status
from cli.doctor.temporal import _check_connection
from temporal.connection_config import Connection

CERTIFIED = TLSConfig(client_cert=b"certificate", client_private_key=b"key")


def certified(ends_in: timedelta) -> Connection:
    return Connection("temporal:7233", "default", CERTIFIED, certificate_ends=datetime.now(UTC) + ends_in)


@pytest.mark.parametrize(
    ("connection", "words"),
    [
        (Connection("127.0.0.1:7233", "default"), "1.32.0 at 127.0.0.1:7233, plain, without TLS"),
        (Connection("temporal:7233", "default", TLSConfig()), "1.32.0 at temporal:7233, TLS"),
        (
            Connection("temporal:7233", "default", TLSConfig(), api_key="k"),
            "1.32.0 at temporal:7233, TLS, with an API key",
        ),
        (certified(timedelta(days=31)), "1.32.0 at temporal:7233, TLS with a client certificate"),
    ],
)
def test_a_connection_that_is_safe_is_well_and_told(connection: Connection, words: str):
    found = _check_connection(connection, "1.32.0")
    assert (found.status, found.message) == (Status.OK, words)


@pytest.mark.parametrize(("fields", "what"), [({}, "Runs are"), ({"api_key": "k"}, "Runs and the API key are")])
def test_a_plain_one_to_another_host_is_warned_of(fields: Any, what: str):
    found = _check_connection(Connection("temporal:7233", "default", **fields), "1.32.0")
    assert found.status is Status.WARNING
    assert found.message.endswith(f": {what} sent in clear to another host.")
    assert found.fix is not None
    assert "TEMPORAL_TLS=true" in found.fix


def test_a_certificate_that_ends_soon_is_warned_of():
    found = _check_connection(certified(timedelta(days=29)), "1.32.0")
    assert found.status is Status.WARNING
    assert "which ends on " in found.message
