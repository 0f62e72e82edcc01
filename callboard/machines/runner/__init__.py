"""The code below a Machine's keeper: a supervisor drives Playwright, and user code runs in a process of its own.

It uses the standard library and playwright only. It is started as a script (`main.py`) that keeps Callboard's own
packages out of the user's reach, and then loads this package under a private name: so its imports are relative.
"""
