"""Who may sign in to the shop. People and passwords are made up; each account has its own way of being difficult."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Account:
    """One person at the shop."""

    user: str
    name: str
    password: str = field(repr=False)
    asks_code: bool = False
    """Signing in takes a one-time code as well, which is sent to a phone."""
    fixed_code: str | None = None
    """Every code that is sent: the account is for tests. None: each is another."""
    rotates: bool = False
    """Each page gives a new session cookie; once that is used, earlier ones are worth nothing."""
    is_flaky: bool = False
    """A login with the right password meets an error page, the next one works, and so on in turns."""
    is_locked: bool = False
    """No login succeeds."""


ACCOUNTS = {
    account.user: account
    for account in (
        Account("alice", "Alice", "alice-keeps-bees"),
        Account("bob", "Bob", "bob-builds-boats"),
        Account("code", "Cora Code", "code-by-carrier-pigeon", asks_code=True),
        Account("rotating", "Rosa Rotating", "rotating-doors-only", rotates=True),
        Account("flaky", "Fay Flaky", "flaky-like-pastry", is_flaky=True),
        Account("locked", "Lou Locked", "locked-for-good", is_locked=True),
        Account("tester", "Tess Tester", "tester-of-teapots", asks_code=True, fixed_code="493027"),
    )
}
