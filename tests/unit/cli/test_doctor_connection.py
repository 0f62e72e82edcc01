"""What the doctor says of how Temporal is connected to."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.service import TLSConfig

from callboard.cli.doctor.findings import Status
from callboard.cli.doctor.temporal import _check_connection
from callboard.temporal.connection_config import Connection

HOST = "temporal:7233"
CERTIFIED = TLSConfig(client_cert=b"certificate", client_private_key=b"key")


def certified(ends_in: timedelta) -> Connection:
    return Connection(HOST, "default", CERTIFIED, certificate_ends=datetime.now(UTC) + ends_in)


CLEAR = r": {} sent in clear to another host\.$"


@pytest.mark.parametrize(
    ("connection", "status", "words"),
    [
        (Connection("127.0.0.1:7233", "default"), Status.OK, "^1.32.0 at 127.0.0.1:7233, plain, without TLS$"),
        (Connection(HOST, "default", TLSConfig()), Status.OK, "^1.32.0 at temporal:7233, TLS$"),
        (Connection(HOST, "default", TLSConfig(), api_key="k"), Status.OK, "TLS, with an API key$"),
        (certified(timedelta(days=31)), Status.OK, "TLS with a client certificate$"),
        (certified(timedelta(days=29)), Status.WARNING, "which ends on "),
        (Connection(HOST, "default"), Status.WARNING, CLEAR.format("Runs are")),
        (Connection(HOST, "default", api_key="k"), Status.WARNING, CLEAR.format("Runs and the API key are")),
    ],
)
def test_a_connection_is_told_with_what_is_not_safe_about_it(connection: Connection, status: Status, words: str):
    found = _check_connection(connection, "1.32.0")
    assert found.status is status
    assert re.search(words, found.message)
    assert ("TEMPORAL_TLS=true" in (found.fix or "")) is ("sent in clear" in found.message)
