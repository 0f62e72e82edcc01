"""Tests that run twice: as all others do, and on a client that encrypts payloads."""

import pytest

ENCRYPTION_KEY = "a-key-of-the-tests-of-encryption"
with_encryption = pytest.mark.parametrize("client", ["plain_client", "encrypted_client"], indirect=True)
