"""The code inside a Machine's child: it loads the user's function and drives Playwright.

It uses the standard library and playwright only. It is started as a script (`main.py`) that keeps Callboard's own
packages out of the user's reach, and then loads this package under a private name: so its imports are relative.
"""
