"""User code reaches nothing in the kernel that no namespace holds back."""

from __future__ import annotations

from tests.system.attacks.installation import Installation


async def test_keys_io_uring_other_sockets_and_user_namespaces_are_closed(installation: Installation) -> None:
    """The worker has a session keyring with a key (`with_planted_key.py`), as a service has one."""
    assert await installation.attack("kernel") == {}


async def test_programs_of_user_code_still_start(installation: Installation) -> None:
    """Libc makes processes and threads by the system call `clone3`, whose flags a filter cannot see."""
    assert await installation.attack("starts") == {"program": "started", "thread": True}
