"""The code below a Machine's keeper: a supervisor drives Playwright, and user code runs in a process of its own.

supervisor.py        the trusted process: it has the browser, and executes one Attempt at a time
attempt.py           one Attempt there, until its outcome; conversation.py: what user code's process may say
user_processes.py    the supervisor's side of the zygote and of the process of user code
relay.py             what such a process may ask of the browser
zygote.py            the process that is forked for each Attempt; importing.py: what it has imported ahead
user_process.py      the process of user code, which calls it; session.py: the context and page that it gets
playwright_wire.py   all use of Playwright's private modules

It uses the standard library and playwright only. It is started as a script (`main.py`) that keeps Callboard's own
packages out of the user's reach, and then loads this package under a private name: so its imports are relative.
"""
