"""Stored AuthSessions: the calls and their page, what starts operations, and the results of these."""
