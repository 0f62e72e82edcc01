"""What the shop remembers of logins: sessions, codes that were sent, and counters."""

from __future__ import annotations

import secrets
from collections import deque
from dataclasses import dataclass, field

from examples.site.accounts import ACCOUNTS, Account

_WRONG = "This is not a user of the shop, or not the password."


class RefusedError(Exception):
    """Why a login did not succeed, as a sentence for the page."""

    def __init__(self, why: str, status: int = 401) -> None:
        super().__init__(why)
        self.status = status
        """HTTP status of the page."""


@dataclass(eq=False, slots=True)
class Session:
    """Somebody who is signed in."""

    account: Account
    cookies: list[str]
    """The values that are good for it, the newest last: one, or with a rotating one also its successor."""


@dataclass(eq=False, slots=True)
class Waiting:
    """A login that waits for its code."""

    account: Account
    code: str
    cookie: str = field(default_factory=secrets.token_urlsafe)


@dataclass(slots=True)
class Record:
    """What has happened to one account."""

    logins: int = 0
    """That succeeded."""
    failed: int = 0
    is_locked: bool = False
    """Whether no login succeeds for now."""
    breaks_next: bool = True
    """Whether a flaky account's next login meets an error page."""
    cookies: deque[str] = field(default_factory=lambda: deque[str](maxlen=1000))
    """Values of its session cookie, good or not any more."""


class Logins:
    """One shop's memory. It is gone with the process."""

    def __init__(self) -> None:
        self._records = {user: Record() for user in ACCOUNTS}
        self._sessions: list[Session] = []
        self._waiting: list[Waiting] = []

    def sign_in(self, user: str, password: str) -> Session | Waiting:
        """The first step of a login; for most accounts the only one.

        Raises:
            RefusedError: it did not succeed.
        """
        account = ACCOUNTS.get(user)
        if account is None:
            raise RefusedError(_WRONG)
        record = self._records[user]
        try:
            if password != account.password:
                raise RefusedError(_WRONG)
            if account.is_locked or record.is_locked:
                raise RefusedError("This account is locked.", 403)
            if account.is_flaky:
                breaks, record.breaks_next = record.breaks_next, not record.breaks_next
                if breaks:
                    raise RefusedError("Something broke while you signed in. Try again.", 500)
        except RefusedError:
            record.failed += 1
            raise
        if account.asks_code:
            waiting = Waiting(account, account.fixed_code or f"{secrets.randbelow(10**6):06}")
            self._waiting.append(waiting)
            return waiting
        return self._signed_in(account)

    def give_code(self, cookie: str | None, code: str) -> Session:
        """The second step. A login has one try: right or wrong, its code is used up.

        Raises:
            RefusedError: no login waits for a code with this cookie, or not for this one.
        """
        waiting = self.waiting(cookie)
        if waiting is None:
            raise RefusedError("No login waits for a code here. Sign in first.", 403)
        self._waiting.remove(waiting)
        if code != waiting.code:
            self._records[waiting.account.user].failed += 1
            raise RefusedError("This is not the code. Sign in once more to be sent another.")
        return self._signed_in(waiting.account)

    def waiting(self, cookie: str | None) -> Waiting | None:
        """The login that waits for a code with this cookie, if one does."""
        return next((waiting for waiting in self._waiting if waiting.cookie == cookie), None)

    def code_of(self, user: str) -> str | None:
        """The code that was sent last to the account, if it has not been used."""
        codes = [waiting.code for waiting in self._waiting if waiting.account.user == user]
        return codes[-1] if codes else None

    def session(self, cookie: str | None) -> Session | None:
        """Whose cookie this is, if it is good."""
        return next((session for session in self._sessions if cookie in session.cookies), None)

    def use(self, cookie: str | None) -> Session | None:
        """As `session`, but a page is opened with it: the answer is to set the session's newest cookie."""
        session = self.session(cookie)
        if session is not None and cookie is not None and session.account.rotates:
            session.cookies = [cookie, self._new_cookie(session.account)]
        return session

    def sign_out(self, cookie: str | None) -> None:
        """End the session of this cookie, if there is one."""
        session = self.session(cookie)
        if session is not None:
            self._sessions.remove(session)

    def expire(self, user: str) -> int:
        """End all sessions of an account; how many there were."""
        before = len(self._sessions)
        self._sessions = [session for session in self._sessions if session.account.user != user]
        return before - len(self._sessions)

    def lock(self, user: str) -> None:
        """Let no login of an account succeed until `unlock`."""
        self._records[user].is_locked = True

    def unlock(self, user: str) -> None:
        """Take back what `lock` did."""
        self._records[user].is_locked = False

    def record(self, user: str) -> Record:
        """What has happened to the account; it must be one."""
        return self._records[user]

    def live(self, user: str) -> int:
        """How many sessions the account has now."""
        return sum(session.account.user == user for session in self._sessions)

    def _signed_in(self, account: Account) -> Session:
        self._records[account.user].logins += 1
        session = Session(account, [self._new_cookie(account)])
        self._sessions.append(session)
        return session

    def _new_cookie(self, account: Account) -> str:
        cookie = secrets.token_urlsafe()
        self._records[account.user].cookies.append(cookie)
        return cookie
