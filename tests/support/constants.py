"""Values that tests of several folders share."""

from __future__ import annotations

from datetime import timedelta

from callboard.schemas.workflow.actor import Actor

WORKSPACE = "0f8fad5b-d9cb-469f-a165-70867728950e"
"""The workspace that the api under test serves."""

LOOPBACK = ("127.0.0.0/8", "::1/128")
"""The loopback networks, for an egress policy that lets requests reach servers of a test."""

AUDIT_RETENTION = timedelta(days=365)
"""How long entries of the audit are kept."""

SOMEBODY = Actor(id="Zk3vT9qLm2Xa", name="nightly")
"""Who starts and cancels Runs."""
